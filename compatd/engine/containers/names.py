"""Container names: which are allowed, and pleasant ones for those who give none."""

import re
import secrets

from compatd.engine.errors import InvalidParameter

NAME_CHARACTERS = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")

_MOOD_WORDS = """
able airy ample arctic azure balmy blithe bold bright brisk bronze calm candid careful cheerful civil clear
cobalt copper cosy crisp curious dapper daring deft dreamy eager early earnest easy emerald fair fearless
fleet fluent fond frank free fresh frosty gentle giddy glad golden graceful grand grateful hardy hearty honest
hopeful humble idle ivory jolly jovial keen kind lively lucid lucky lunar mellow merry mild misty modest neat
nimble noble patient placid plucky polite proud quick quiet radiant ready robust rosy rustic sage sandy
scarlet serene sharp shiny silent silver sincere sleek snug solar solid spry steady stellar sturdy subtle
sunny swift tender thrifty tidy tranquil true upbeat vast velvet vivid warm wise witty young zesty
"""

_SURNAME_WORDS = """
abel ampere archimedes babbage banneker bardeen bassi becquerel bell berners bohr boole bose brahe braun
cannon cantor carnot carson cauchy cavendish chandra clarke copernicus coulomb crick curie darwin davy dirac
doppler dyson edison einstein elion erdos euclid euler faraday fermat fermi feynman fibonacci fleming fourier
franklin galileo galois gauss germain goodall hamilton hawking heaviside herschel hertz hilbert hodgkin
hooke hopper hubble huygens hypatia jackson jemison joule kelvin kepler khwarizmi knuth kovalevskaya lamarr
laplace lavoisier leavitt leibniz linnaeus lovelace maxwell mayer mccarthy mcclintock meitner mendel
mendeleev mirzakhani mitchell napier newton nightingale nobel noether ohm pascal pasteur pauli pavlov payne
planck poincare ptolemy raman ramanujan riemann ritchie roentgen rubin rutherford sagan salk shannon sinoussi
somerville tesla thompson torvalds turing villani volta wiles wilkes wozniak wright wu yalow yonath
"""


_MOODS, _SURNAMES = _MOOD_WORDS.split(), _SURNAME_WORDS.split()


def check_name(name: str) -> None:
    """Raise InvalidParameter when a container cannot be called that (a leading slash is fine)."""
    if not _NAME.match(name.removeprefix("/")):
        raise InvalidParameter(f"Invalid container name ({name}), only {NAME_CHARACTERS} are allowed")


def random_name(attempt: int) -> str:
    """`mood_surname`; a digit is added from the second attempt on."""
    name = f"{secrets.choice(_MOODS)}_{secrets.choice(_SURNAMES)}"
    return f"{name}{secrets.randbelow(10)}" if attempt else name


def new_id() -> str:
    """64 hexadecimal digits, whose first 12 are not all decimal (they would pass for a number elsewhere)."""
    while True:
        identifier = secrets.token_hex(32)
        if not identifier[:12].isdecimal():
            return identifier
