"""What people do: create, rotate, pause, replay. The only home of use cases; knows ports, and nothing of HTTP.

Places in `Invalid` are relative to the data that was handed in: ("url",), ("send", "body").
"""
