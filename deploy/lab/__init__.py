"""A lab of real Asterisk instances, for the demo and the end-to-end tests.

`Lab` is the way in: a call centre's PBX that runs the product's dialplan, and a
second Asterisk that plays the agents' phones, the telephone network and the
consumers. All traffic stays on loopback.
"""

from .ami import AmiClient, AmiError, AmiMessage
from .calls import Call, CallOutcome
from .errors import LabError
from .instance import AsteriskInstance
from .lab import Lab

__all__ = [
    "AmiClient",
    "AmiError",
    "AmiMessage",
    "AsteriskInstance",
    "Call",
    "CallOutcome",
    "Lab",
    "LabError",
]
