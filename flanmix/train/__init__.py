"""The trainer: settings, data, learner, loop, events, run record."""
