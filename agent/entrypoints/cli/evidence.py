"""``bmn evidence``."""

from __future__ import annotations

import sys
from datetime import date, datetime
from pathlib import Path

import click

from agent.adapters.evidence_files import evidence_draft, read_document
from agent.adapters.evidence_page import LANGUAGES
from agent.adapters.journal_evidence import JournalEvidence, record_of
from agent.bootstrap import evidence as wired_evidence
from agent.bootstrap import now_utc
from agent.domain.wording import counted
from agent.entrypoints.cli import context, output
from agent.evidence import days
from agent.evidence_check import EvidenceCheck, Matched
from agent.evidence_document import DocumentBroken, check

_DAY = click.DateTime(formats=["%Y-%m-%d"])
_MAKE = "make"


class _Evidence(click.Group):
    """``bmn evidence NUMBER`` makes a document, ``bmn evidence verify FILE`` checks one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [_MAKE, *args]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["NUMBER --out FILE.html|FILE.json [OPTIONS] | verify FILE"]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Options of NUMBER"):
            formatter.write_dl([found for one in make.params if (found := one.get_help_record(ctx)) is not None])
        with formatter.section("Commands"):
            formatter.write_dl([("verify FILE [--journal]", "Check a document, without the journal or with it.")])


@click.group(cls=_Evidence, short_help="Everything on one number in one document, with its proof.")
def evidence() -> None:
    """Make one document of all that the journal holds of a number, or check one.

    \b
      bmn evidence 0612345678 --out dossier.html
      bmn evidence 0612345678 --from 2026-01-01 --to 2026-03-31 --out dossier.json
      bmn evidence verify dossier.html
      bmn evidence verify dossier.html --journal

    In it: every call with its verdict, the register file it rests on and whether that was still valid, the evidence of
    an exemption, the offer, the notice with the milliseconds that were played, choices, what went to the registrar,
    opt-outs, who saw the number; and what is not known. It is also the answer to a consumer who asks what is kept of
    him. FILE.html prints well and carries the same JSON.

    The document holds the number in full: the journal records each export before there is a file (mode 0600).
    """


@evidence.command(_MAKE, hidden=True)
@click.argument("number")
@click.option("--from", "first", type=_DAY, metavar="DAY", help="First day of the period; default: all there is.")
@click.option("--to", "last", type=_DAY, metavar="DAY", help="Last day of the period; default: now.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where it goes: FILE.html or FILE.json.")
@click.option("--lang", type=click.Choice(LANGUAGES), help="Of the page; default: the language of the profile.")
@click.option("--force", is_flag=True, help="Replace the file if it is there already.")
@context.profile_option
@output.json_option
def make(
    number: str,
    first: datetime | None,
    last: datetime | None,
    out: Path,
    lang: str | None,
    force: bool,
    profile_key: str | None,
    as_json: bool,
) -> None:
    """Make the document of NUMBER."""
    with context.application() as app, output.progress_bar() as progress:
        profile = context.chosen_profile(app.settings, profile_key)
        consumer = context.recorded_number(app.settings, number)
        try:
            period = days(profile, _day(first), _day(last), now_utc())
        except ValueError as error:
            raise click.UsageError(f"--from and --to: {error}") from error
        with evidence_draft(out, force=force) as draft:
            document = wired_evidence(app).export(consumer, profile, period, lang or profile.language, draft, progress)
    calls = len(document.content["dossier"]["attempts"])
    if as_json:
        output.print_json(
            {
                "file": str(out),
                "calls": calls,
                "records": len(document.records),
                "record": document.export.seq,
                "anchor": str(document.anchor),
                "root": document.root.hex(),
            }
        )
        return
    click.echo(f"{out}: {counted(calls, 'call')}, {counted(len(document.records), 'record')} with their proof")
    click.echo(f"record {document.anchor} of the journal holds its SHA-256: note that elsewhere")


@evidence.command(short_help="Check a document, without the journal or with it.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--journal", "with_journal", is_flag=True, help="Compare it with the journal of the configuration, too.")
@output.json_option
def verify(file: Path, with_journal: bool, as_json: bool) -> None:
    """Check that FILE is what was exported, to the last byte (exit code 1 when it is not; 4 for any other file).

    Needs neither journal nor configuration: every record's body is compared with its digest, and its place with the
    root of the tree over the whole journal, whose record of the export is in the document. That this root is the
    journal's can be seen with --journal: then the tree is built again, the keyed links of the records shown are
    checked, and that no record of the number was left out. Without it, compare the anchor with the one that was noted
    when the document was made.
    """
    content = read_document(file)
    try:
        document = check(content)
    except DocumentBroken as error:
        _tell(file, [str(error)], None, None, as_json=as_json)
        sys.exit(1)
    matched: Matched | None = None
    if with_journal:
        config = context.settings()
        with output.progress_bar() as progress:
            records = JournalEvidence(config.journal.path, config.journal.key_path)
            matched = EvidenceCheck(records, record_of).match(document, progress)
    facts = {
        "number": str(document.number),
        "records": len(document.records),
        "anchor": str(document.anchor),
        "journal": document.journal,
        "root": document.root.hex(),
    }
    problems = list(matched.problems) if matched is not None else []
    _tell(file, problems, facts, matched, as_json=as_json)
    sys.exit(1 if problems else 0)


def _tell(
    file: Path,
    problems: list[str],
    facts: dict[str, object] | None,
    matched: Matched | None,
    *,
    as_json: bool,
) -> None:
    if as_json:
        compared = {"with_journal": matched is not None, "purged": matched.purged if matched is not None else 0}
        output.print_json({"proven": not problems, "problems": problems, **compared, **(facts or {})})
        return
    for problem in problems:
        click.echo(f"BROKEN: {file}: {problem}")
    if problems or facts is None:
        return
    click.echo(f"unchanged: {file}, number {facts['number']}, {counted(int(str(facts['records'])), 'record')}")
    if matched is None:
        click.echo(f"record {facts['anchor']} of journal {facts['journal']} holds its SHA-256: compare that with")
        click.echo("what was noted when it was made, or have it checked with --journal where the journal is")
        return
    click.echo("the journal is the one of that day, and holds no other record of this number in this period")
    if matched.purged:
        click.echo(f"{counted(matched.purged, 'record')} of it lost the body to retention since; the digests match")


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()
