"""Calendars and clocks on walls: zones, cron, anniversaries, windows, quiet hours, sticky chance. Pure.

Nothing here knows what time it is: every function is told the instant, in ms since the Unix epoch.
"""

from posthorn.calendars.anniversaries import LeapDay, MonthDay, next_anniversary
from posthorn.calendars.cron import Cron, next_firing, next_firings
from posthorn.calendars.cron_text import parse_cron
from posthorn.calendars.date_text import DateRead, NoDate, read_date
from posthorn.calendars.days import TimeOfDay, Weekday
from posthorn.calendars.moments import CalendarDuration, ExactDuration, add_duration, at_local_time
from posthorn.calendars.quiet import QuietHours, is_quiet, release_ms
from posthorn.calendars.sticky import sticky_bucket, sticky_fraction
from posthorn.calendars.windows import WindowKind, next_window_start_ms, window_start_ms
from posthorn.calendars.zones import Zone, zone, zone_if_known, zone_names

__all__ = [
    "CalendarDuration",
    "Cron",
    "DateRead",
    "ExactDuration",
    "LeapDay",
    "MonthDay",
    "NoDate",
    "QuietHours",
    "TimeOfDay",
    "Weekday",
    "WindowKind",
    "Zone",
    "add_duration",
    "at_local_time",
    "is_quiet",
    "next_anniversary",
    "next_firing",
    "next_firings",
    "next_window_start_ms",
    "parse_cron",
    "read_date",
    "release_ms",
    "sticky_bucket",
    "sticky_fraction",
    "window_start_ms",
    "zone",
    "zone_if_known",
    "zone_names",
]
