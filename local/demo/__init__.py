"""`make demo`: the real handlers under traffic, with and without the cache side by side, every answer checked."""
