"""What can go wrong in the lab."""


class LabError(Exception):
    """The lab could not be set up, or something in it did not happen in time."""
