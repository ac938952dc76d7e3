"""The words of Google Speech Commands and the names of its files."""

from __future__ import annotations

#: the ten commands, in the order of the paper's class indices
COMMANDS = ("yes", "stop", "no", "right", "up", "left", "on", "down", "off", "go")
SILENCE, UNKNOWN = "_silence_", "_unknown_"
CLASSES_12 = (*COMMANDS, SILENCE, UNKNOWN)

#: the other words of v0.01
_OTHERS_V1 = (
    *("bed", "bird", "cat", "dog", "eight", "five", "four", "happy", "house", "marvin"),
    *("nine", "one", "seven", "sheila", "six", "three", "tree", "two", "wow", "zero"),
)
#: the five words that v0.02 added
ADDED_IN_V2 = ("backward", "follow", "forward", "learn", "visual")
OTHER_WORDS = tuple(sorted(_OTHERS_V1 + ADDED_IN_V2))
CLASSES_35 = tuple(sorted(COMMANDS + OTHER_WORDS))

#: clips of the full archives
OFFICIAL_CLIPS = {"v0.01": 64_727, "v0.02": 105_829}

BACKGROUND = "_background_noise_"
VALIDATION_LIST, TESTING_LIST = "validation_list.txt", "testing_list.txt"
