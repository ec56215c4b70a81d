"""A module that an instructor gives with an assignment."""


def metres(feet):
    return feet * 0.3048


def is_metric(unit):
    return unit in ("m", "km")
