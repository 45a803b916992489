"""The dialplan as a running Asterisk has it: every step, and so every place where a channel can be sent to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from deploy.lab import Lab

_SAMPLE: Final = str.maketrans("XZN", "112")
"""A digit that each wildcard of a pattern stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A priority of an extension of ours."""

    context: str
    extension: str
    priority: int
    application: str
    arguments: str

    def place(self, number: str) -> tuple[str, str, str]:
        """Context, extension and priority; a pattern's extension is the number, or one as long as the pattern wants."""
        extension = self.extension
        if extension.startswith("_"):
            open_ended = extension.endswith(("!", "."))
            extension = number if open_ended else re.sub(r"\[(.)[^]]*\]", r"\1", extension[1:].translate(_SAMPLE))
        return self.context, extension, str(self.priority)


def steps(lab: Lab) -> list[Step]:
    """All of our contexts, by AMI."""
    ami = lab.pbx.ami
    mark = ami.mark()
    ami.action("ShowDialPlan")
    ami.wait_for(lambda event: event.name == "ShowDialPlanComplete", since=mark, what="the dialplan")
    return [
        Step(
            context=event["Context"],
            extension=event["Extension"],
            priority=int(event["Priority"]),
            application=event["Application"],
            arguments=event["AppData"],
        )
        for event in ami.events(mark)
        if event.name == "ListDialplan" and event["Context"].startswith("bmn-") and "Priority" in event
    ]
