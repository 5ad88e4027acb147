"""What operators read, and what the playground's page shows, in each language."""

from .table import ENGLISH, LANGUAGES, PAGE, Text, Texts, forms_of, problem_of

__all__ = ["ENGLISH", "LANGUAGES", "PAGE", "Text", "Texts", "forms_of", "problem_of"]
