"""Closures and early closes that the provider announces: read, judged, stored, and put into the calendar (policy.md 1).

rows         reads the provider's list
closures     which closures are believed, and which past ones are doubtful
store        what the processes share, in a file
redis_store  the same in a Redis
keeper       asks once a day and keeps the calendar to what is announced
"""

from app.market.announcements.keeper import Announcements, CalendarStatus, upcoming
from app.market.announcements.rows import REASONS

__all__ = ["REASONS", "Announcements", "CalendarStatus", "upcoming"]
