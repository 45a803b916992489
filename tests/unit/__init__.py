"""Pure: values and fakes."""
