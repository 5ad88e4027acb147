"""What operators read, in their language."""

from .table import ENGLISH, LANGUAGES, Text, Texts, problem_of

__all__ = ["ENGLISH", "LANGUAGES", "Text", "Texts", "problem_of"]
