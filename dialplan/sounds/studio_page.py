"""The page for a recording studio: every text to speak, its file's name, and how to deliver it."""

from collections.abc import Sequence
from html import escape
from itertools import groupby

from prompt_texts import Listener, Prompt

_STYLE = """
body { font: 11pt/1.4 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; width: 100%; margin-bottom: 2em }
th, td { border: 1px solid #999; padding: .4em .6em; text-align: left; vertical-align: top }
th { background: #eee }
thead { display: table-header-group }
tr { break-inside: avoid }
h2 { break-after: avoid }
td:first-child { font-family: monospace; overflow-wrap: anywhere; width: 32% }
td:last-child { width: 8em }
@page { margin: 15mm }
@media print { body { margin: 0; max-width: none } }
"""

_HOW = """
<h1>Prompts to record</h1>
<p>Telephone announcements of the Bel-me-niet agent. One person per language, calm and clear; "u" in Dutch.</p>
<ul>
<li><b>Format:</b> one WAV file per text, mono, 16-bit PCM or better, 44.1 or 48 kHz. No music, effects or
compression; peaks at about -6 dBFS, less than half a second of silence at either end.</li>
<li><b>Names:</b> exactly as in the first column, in one folder per language: <code>nl/notice-acme.wav</code>.</li>
<li><b>PROOF:</b> how many seconds of this text a consumer heard is kept as evidence. Speak it word for word,
without additions or long pauses, in one take per file.</li>
<li><b>Texts that end in a colon</b> run on into another file, which begins with a small letter: keep the voice up.</li>
<li><b>Signals</b> before what agents hear are added afterwards: record the words alone.</li>
</ul>
<p>The folder is then put in place with <code>dialplan/sounds/build --recordings FOLDER --sellers bmn.toml</code>,
which brings every file to telephone rate and level, and refuses one that is silent or has an unknown name.</p>
"""


def studio_page(prompts: Sequence[Prompt]) -> str:
    """A whole HTML page that needs no other file: a table per language, listener and seller."""
    ordered = sorted(prompts, key=_part)
    tables = "".join(_table(*part, list(group)) for part, group in groupby(ordered, key=_part))
    head = f"<meta charset='utf-8'/><title>Prompts to record</title><style>{_STYLE}</style>"
    return f"<!DOCTYPE html>\n<html lang='en'><head>{head}</head><body>{_HOW}{tables}</body></html>\n"


def _part(prompt: Prompt) -> tuple[str, str, str]:
    return prompt.language, prompt.heard_by, prompt.seller


def _table(language: str, heard_by: str, seller: str, prompts: Sequence[Prompt]) -> str:
    heading = f"{language}: heard by the {heard_by}" + (f", for {seller}" if seller else "")
    return (
        f"<h2>{escape(heading)}</h2>\n<table><thead><tr><th>file</th><th>text</th><th>marks</th></tr></thead>\n"
        + "".join(_row(prompt) for prompt in prompts)
        + "</table>\n"
    )


def _row(prompt: Prompt) -> str:
    marks = ["PROOF"] if prompt.heard_by is Listener.CONSUMER else []
    marks += [f"signal: {prompt.tone}"] if prompt.tone else []
    marks += ["runs on"] if prompt.text.endswith(":") else []
    cells = (f"{prompt.label}.wav", prompt.text, ", ".join(marks))
    return f"<tr lang='{prompt.language}'>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>\n"
