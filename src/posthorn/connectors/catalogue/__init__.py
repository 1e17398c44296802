"""The connector files that ship with Posthorn, one for each target."""
