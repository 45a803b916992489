"""``bmn scrub``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from agent.adapters.call_file import open_call_file
from agent.adapters.call_file_layout import ENCODINGS, LayoutOptions
from agent.adapters.scrub_files import ScrubFiles, read_certificate, sha256_of
from agent.bootstrap import scrubbing
from agent.domain.profile import PROFILES
from agent.domain.wording import counted
from agent.entrypoints.cli import context, output

_PATH = click.Path(path_type=Path)


@click.command(short_help="Take out of a call file who may not be called.")
@click.argument("file", type=_PATH, required=False, metavar="[IN.csv]")
@click.option("--campaign", help="The campaign's name in the configuration.")
@click.option("--out", type=_PATH, help="Where the rows go that may be called.")
@click.option("--removed", type=_PATH, help="Where the others go, each with its reason.")
@click.option("--certificate", type=_PATH, help="Where the certificate goes (JSON).")
@click.option("--column", help="The number's column: its heading, or its place from 1 on. Default: found out.")
@click.option("--delimiter", help='Between columns; "tab" for a tab. Default: found out.')
@click.option("--encoding", type=click.Choice(ENCODINGS), help="Default: found out.")
@click.option("--header/--no-header", default=None, help="Whether the first row is headings. Default: found out.")
@click.option("--force", is_flag=True, help="Replace outputs that are there already.")
@click.option("--check", "checked", type=_PATH, metavar="CERT.json", help="Check this certificate instead.")
@output.json_option
def scrub(
    file: Path | None,
    campaign: str | None,
    out: Path | None,
    removed: Path | None,
    certificate: Path | None,
    column: str | None,
    delimiter: str | None,
    encoding: str | None,
    header: bool | None,
    force: bool,
    checked: Path | None,
    as_json: bool,
) -> None:
    """Part a call file into who may be called for a campaign and who may not, with a certificate of it.

    \b
      bmn scrub calls.csv --campaign energy-autumn --out clean.csv --removed removed.csv --certificate cert.json
      bmn scrub --check cert.json clean.csv

    Each row is decided as a call is. It goes where it belongs as it came: every column, its quoting, its line end.
    Rows that may not be called get a column "reason" more: registered, registered_sector, registered_charities,
    seller_optout, invalid_number, unsupported_country, emergency_number, or duplicate for a number that stayed in an
    earlier row, in whatever spelling. Empty lines are left out. Numbers are read from one column: with several in the
    file, name it. What is said after the scrub is not in the clean file, so calls are screened all the same.

    All is done or nothing: no output has its name before the journal has the scrub, the certificate gets its name
    last, and IN.csv is never changed. When the register that the campaign needs is missing or too old, or is replaced
    again and again meanwhile, nothing is written (exit code 3). Outputs that are there already, a column that cannot be
    told, a file without numbers: exit code 4.

    With --check: is the certificate as the journal has it, is the clean file (when given) still that one, and may it
    still be used? Exit code 1 when one of these is no.
    """
    if checked is not None:
        if campaign or out or removed or certificate:
            raise click.UsageError("--check goes with the certificate and the clean file alone")
        _check(checked, file, as_json=as_json)
        return
    if file is None or campaign is None or out is None or removed is None or certificate is None:
        raise click.UsageError("a scrub needs IN.csv, --campaign, --out, --removed and --certificate")
    options = LayoutOptions(column=column, delimiter=_delimiter(delimiter), encoding=encoding, header=header)
    with context.application() as app, output.progress_bar() as progress:
        chosen = app.campaigns.get(campaign)
        if chosen is None:
            known = ", ".join(sorted(app.campaigns)) or "none is configured"
            raise click.UsageError(f"there is no campaign {campaign!r} (known: {known})")
        calls = open_call_file(file, options, PROFILES[chosen.profile], app.settings.dialling.pbx_prefixes)
        outputs = ScrubFiles(file, out, removed, certificate, force=force)
        issued: Any = scrubbing(app).scrub(chosen, calls, outputs, progress)
    if as_json:
        output.print_json(issued)
        return
    place = f"column {calls.layout.column + 1}"
    heading = f" ({output.printable(calls.layout.column_name)})" if calls.layout.column_name else ""
    click.echo(f"{file}: {counted(issued['input']['rows'], 'row')}, numbers read from {place}{heading}")
    click.echo(f"{out}: {counted(issued['clean']['rows'], 'row')} that may be called")
    click.echo(f"{removed}: {counted(issued['removed']['rows'], 'row')} that may not")
    for reason, count in issued["reasons"].items():
        click.echo(f"  {reason:22} {count:>12,}")
    click.echo(f"{certificate}: record {issued['record']} of the journal, valid until {issued['valid_until']}")


def _check(path: Path, file: Path | None, *, as_json: bool) -> None:
    found = read_certificate(path)
    with context.application() as app:
        digest = sha256_of(file) if file is not None else None
        findings = app.scrub_checks.check(found, str(file), digest)
    holds = all(finding.holds for finding in findings)
    if as_json:
        rows = [{"subject": item.subject, "holds": item.holds, "text": item.text} for item in findings]
        output.print_json({"holds": holds, "findings": rows})
    else:
        for finding in findings:
            click.echo(f"{'ok' if finding.holds else 'NO'}  {finding.text}")
    sys.exit(0 if holds else 1)


def _delimiter(text: str | None) -> str | None:
    if text is None:
        return None
    char = "\t" if text.lower() in ("tab", "\\t") else text
    if len(char) != 1 or char in '"\r\n' or char.isalnum():
        raise click.BadParameter("give one character, or tab", param_hint="--delimiter")
    return char
