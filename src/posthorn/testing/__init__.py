"""The fakes that ship with the ports, for our own tests and for those of extensions."""
