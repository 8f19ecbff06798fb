"""Exceptions that do not mean that the program is wrong: their messages are for people."""


class UserError(ValueError):
    """Wrong input from a person: the message says what was wrong, where, and what to do.

    The command line prints the message as one paragraph and exits with code 2.
    """


class Unavailable(RuntimeError):
    """Nothing is wrong with the input, but something is in use or stands in the way.

    The message says what, and what to do. The command line prints it as one paragraph and exits
    with code 1.
    """


class Interrupted(BaseException):
    """The program was told to stop and did, or lost a worker; the message says how to go on.

    Not an `Exception`: what handles failures along the way must let it through.
    """
