"""The day that a chat template is told where it asks for today's.

Batches and scores must be the same on any day; only who talks on a terminal is told the real one.
"""

from datetime import datetime

DAY = datetime(2024, 7, 26)
