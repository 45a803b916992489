"""Command line of `./build`: choose prompts, then build, check or list them."""

import argparse
import difflib
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from prompt_texts import Prompt, PromptFile, PromptFileError, read_prompt_file, read_sellers
from sound_files import SoundRejectedError, ToolMissingError
from sound_jobs import Fault, Job, find_faults, holds, left_over, make_all, plan, rivals_of
from sound_manifest import ManifestError, Records, read_manifest, write_manifest
from studio_page import studio_page

HERE = Path(__file__).resolve().parent

DONE, ANSWER_IS_NO, WRONG_USAGE, TOOL_MISSING, REJECTED = range(5)

HELP = """\
Build the prompts that the Bel-me-niet agent plays, from the texts in prompts.toml.

Each text becomes OUT/<language>/bmn/<name>.wav (8 kHz, 16-bit mono), what only agents hear also .wav16
(16 kHz), spoken by espeak-ng and levelled by sox. The dialplan plays it as bmn/<name>, once
OUT/<language>/bmn is in Asterisk's sounds folder. Only what changed is built again."""

EXAMPLES = """\
examples:
  ./build                                  build all that changed, into audio/
  ./build blocked blocked-registered       only these two, in every language
  ./build --out /usr/share/asterisk/sounds build straight into Asterisk's sounds folder
  ./build --recordings ~/studio            use ~/studio/nl/blocked.wav and the like, not espeak-ng
  ./build --sellers bmn.toml               also the texts with {seller}, for each seller in that file
  ./build --sellers bmn.toml --studio s.html    a page for the recording studio: every text, how, where
  ./build --list                           what there is: name, language, seconds, source
  ./build --check && echo fine             is every file there, audible and up to date?

recordings:
  DIR/<language>/<name>.wav, in any rate and number of channels that sox reads. What was recorded
  stays recorded: a later run without --recordings leaves it alone, and stops if the text has changed
  since. To go back to espeak-ng, give a DIR without that file.

evidence:
  OUT/manifest.json has per file: SHA-256, samples, milliseconds, the text, and the source (the version
  of espeak-ng, or the SHA-256 of the recording). The same texts and the same versions of espeak-ng
  and sox give the same bytes; new versions alone cause no rebuild (--force does).

exit codes:
  0  done                                  3  espeak-ng or sox is not installed
  1  --check found something               4  a text or recording gave no usable sound;
  2  wrong usage, or a mistake in a file      nothing was changed"""


class UsageError(Exception):
    """The request cannot be carried out as it stands; the message says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        return _run(_parser().parse_args(arguments))
    except ToolMissingError as error:
        code, message = TOOL_MISSING, str(error)
    except SoundRejectedError as error:
        code, message = REJECTED, f"{error}\nnothing was changed"
    except (UsageError, PromptFileError, ManifestError, OSError) as error:
        code, message = WRONG_USAGE, str(error)
    print(message, file=sys.stderr)
    return code


def _run(options: argparse.Namespace) -> int:
    out: Path = options.out.resolve()
    content = read_prompt_file(options.prompts)
    sellers = read_sellers(options.sellers) if options.sellers else {}
    prompts = _select(content, sellers, options.names, options.language)
    recordings: Path | None = options.recordings.resolve() if options.recordings else None
    if recordings is not None:
        _require_recordings(recordings, content)
    if options.studio:
        if not sellers:
            raise UsageError("a studio needs the sellers' names too; give --sellers FILE")
        return _write_studio_page(options.studio, prompts)
    records = read_manifest(out)
    jobs = plan(prompts, content.voices, recordings, records)
    old = [] if options.names or options.language else left_over(jobs, records)
    if not sellers:  # then nothing is known of what was made for them
        old = [file for file in old if not Path(file).stem.startswith(_for_sellers(content))]
    if options.list:
        return _list(jobs, records, as_json=options.json)
    if options.check:
        faults = find_faults(out, jobs, records) | dict.fromkeys(old, Fault.LEFT_OVER)
        return _report_faults(faults, checked=sum(len(job.files) for job in jobs), as_json=options.json)
    _refuse_rivals(out, jobs, old)
    stale = [job for job in jobs if options.force or not holds(out, job, records)]
    _build(out, stale, records, old, workers=options.jobs)
    return _report_build(out, stale, unchanged=len(jobs) - len(stale), removed=old, as_json=options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="build",
        description=HELP,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add, audio, texts = parser.add_argument, HERE / "audio", HERE / "prompts.toml"
    add("names", nargs="*", metavar="NAME", help="prompts to build, check or list (default: all)")
    add("--language", action="append", metavar="CODE", help="only this language; may be repeated")
    add("--out", type=Path, default=audio, metavar="OUT", help="where sounds go (default: audio/)")
    add("--prompts", type=Path, default=texts, metavar="FILE", help="texts (default: prompts.toml)")
    add("--recordings", type=Path, metavar="DIR", help="studio recordings that replace espeak-ng")
    add("--sellers", type=Path, metavar="FILE", help="settings file with [sellers.<key>] name = …")
    add("--force", action="store_true", help="build everything again")
    cores = os.cpu_count() or 1
    add("--jobs", type=_count, default=cores, metavar="N", help="at once (default: cores)")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="build nothing, report what is wrong")
    page = "write a page with the texts for a recording studio"
    action.add_argument("--studio", type=Path, metavar="FILE", help=page)
    action.add_argument("--list", action="store_true", help="build nothing, show what there is")
    add("--json", action="store_true", help="print the result as JSON")
    return parser


def _count(given: str) -> int:
    if not given.isdecimal() or given.strip("0") == "":
        raise argparse.ArgumentTypeError("must be 1 or more")
    return int(given)


def _select(
    content: PromptFile,
    sellers: Mapping[str, str],
    names: Sequence[str],
    languages: Sequence[str] | None,
) -> list[Prompt]:
    _require_known("language", languages or (), content.voices)
    _require_known("prompt", names, {prompt.name for prompt in content.prompts})
    selected: list[Prompt] = []
    left_out: list[str] = []
    for prompt in content.prompts:
        if (names and prompt.name not in names) or (languages and prompt.language not in languages):
            continue
        if not prompt.names_seller:
            selected.append(prompt)
        elif sellers:
            selected += [prompt.for_seller(key, name) for key, name in sellers.items()]
        else:
            left_out.append(prompt.label)
    if left_out and (names or not selected):
        raise UsageError(f"the text of {left_out[0]} names the seller; give --sellers FILE")
    if left_out:
        print(f"left out: {len(left_out)} texts that name the seller; give --sellers FILE", file=sys.stderr)
    labels = [prompt.label for prompt in selected]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise UsageError(f"two prompts would have the same file: {', '.join(twice)}; rename one")
    return selected


def _require_known(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(sorted(known))}"
            raise UsageError(f"there is no {what} '{name}'; {hint}")


def _require_recordings(recordings: Path, content: PromptFile) -> None:
    """Refuse a folder in which a misspelt name would silently leave a prompt to espeak-ng."""
    if not recordings.is_dir():
        raise UsageError(f"there is no folder {recordings}")
    known = {prompt.name for prompt in content.prompts if not prompt.names_seller}
    for path in sorted(recordings.glob("*/*.wav")):
        _require_known("language", [path.parent.name], content.voices)
        if not path.stem.startswith(_for_sellers(content)):
            _require_known("prompt", [path.stem], known)


def _for_sellers(content: PromptFile) -> tuple[str, ...]:
    """What the names of sounds begin with that are made for each seller."""
    return tuple({f"{prompt.name}-" for prompt in content.prompts if prompt.names_seller})


def _refuse_rivals(out: Path, jobs: Sequence[Job], old: Sequence[str]) -> None:
    if rivals := [file for job in jobs for file in rivals_of(out, job) if file not in old]:
        raise UsageError(
            f"remove from {out}: {', '.join(rivals)}; Asterisk may play one of these to a consumer instead of the "
            ".wav, and then cannot prove how much of it was heard"
        )


def _write_studio_page(path: Path, prompts: Sequence[Prompt]) -> int:
    path.write_text(studio_page(prompts), encoding="utf-8")
    print(f"{len(prompts)} texts: {path}")
    return DONE


def _build(out: Path, stale: Sequence[Job], records: Records, old: Sequence[str], *, workers: int) -> None:
    absent = [job.label for job in stale if job.recording_sha256 and not job.recording]
    if absent:
        raise UsageError(f"recorded, but no longer up to date: {', '.join(absent)}; give --recordings DIR")
    for job in stale:
        if job.recording and _recorded_for_another_text(job, records):
            print(f"{job.label}: new text, same recording: listen whether it fits", file=sys.stderr)
    kept = {file: record for file, record in records.items() if file not in old}
    if stale:
        kept |= make_all(out, stale, workers=workers, made=_Progress(len(stale)).step)
    for file in old:
        (out / file).unlink(missing_ok=True)
    write_manifest(out, kept)


def _recorded_for_another_text(job: Job, records: Records) -> bool:
    made = [records[file] for file in job.files if file in records]
    return any(record.recording_sha256 == job.recording_sha256 and record.text != job.prompt.text for record in made)


def _report_build(out: Path, built: Sequence[Job], *, unchanged: int, removed: Sequence[str], as_json: bool) -> int:
    if as_json:
        labels = [job.label for job in built]
        result = {"built": labels, "unchanged": unchanged, "removed": removed, "out": str(out)}
        print(json.dumps(result, indent=2))
    else:
        old = f", {len(removed)} old files removed" if removed else ""
        print(f"{len(built)} built, {unchanged} unchanged{old}: {out}")
    return DONE


def _report_faults(faults: Mapping[str, Fault], *, checked: int, as_json: bool) -> int:
    if as_json:
        rows = [{"file": file, "fault": fault} for file, fault in faults.items()]
        print(json.dumps(rows, indent=2))
    elif faults:
        print("\n".join(f"{fault:<12} {file}" for file, fault in faults.items()))
    else:
        print(f"{checked} files, all there, audible and up to date")
    return ANSWER_IS_NO if faults else DONE


def _list(jobs: Sequence[Job], records: Records, *, as_json: bool) -> int:
    rows: list[dict[str, object]] = []
    for job in jobs:
        record = records.get(job.files[0])
        rows.append(
            {
                "name": job.prompt.name,
                "language": job.prompt.language,
                "seconds": record.milliseconds / 1000 if record else None,
                "source": record.source if record else "not built",
                "text": job.prompt.text,
            }
        )
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return DONE
    width = max(len(str(row["name"])) for row in rows)
    print(f"{'name':<{width}}  language  seconds  source")
    for row in rows:
        seconds = "-" if row["seconds"] is None else f"{row['seconds']:.2f}"
        print(f"{row['name']:<{width}}  {row['language']:<8}  {seconds:>7}  {row['source']}")
    return DONE


class _Progress:
    """On a terminal one line that is rewritten; elsewhere a line for each prompt. On stderr."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0

    def step(self, label: str) -> None:
        """One more is made."""
        self._done += 1
        line = f"[{self._done}/{self._total}] {label}"
        if not sys.stderr.isatty():
            print(line, file=sys.stderr)
            return
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        if self._done == self._total:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
