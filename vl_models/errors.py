"""The one exception type that means "the input is wrong", not "the program is"."""


class UserError(ValueError):
    """Wrong input from a person: the message says what was wrong, where, and what to do.

    The command line prints the message as one paragraph and exits with code 2.
    """


class Interrupted(BaseException):
    """The program was told to stop and did, or lost a worker; the message says how to go on.

    Not an `Exception`: what handles failures along the way must let it through.
    """
