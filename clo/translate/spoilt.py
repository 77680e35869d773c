"""Instructions that a translation would spoil: they are about the words of a language, which would be others."""

from __future__ import annotations

import re

REASON = "an instruction that a translation would spoil"

_LANGUAGES = (
    "English|French|Spanish|German|Italian|Portuguese|Russian|Chinese|Mandarin|Cantonese|Japanese|Korean|Arabic|Hindi|"
    "Bengali|Urdu|Turkish|Dutch|Polish|Swedish|Danish|Norwegian|Finnish|Greek|Latin|Hebrew|Swahili|Yoruba|Hausa|Igbo|"
    "Zulu|Indonesian|Malay|Vietnamese|Thai|Ukrainian|Czech|Hungarian|Romanian|Persian|Farsi|Tamil|Telugu"
)
_SPOILT = re.compile(
    rf"""\btranslat(?:e|es|ed|ing|ions?)\b
    | \b(?:in|into|to|from)\s+(?:the\s+)?(?:{_LANGUAGES})\b(?=\s*(?:[.,:;?!"')\]]|$|and\b|or\b|please\b|with\b|using\b))
    | \b(?:{_LANGUAGES})\s+(?:words?|phrases?|sentences?|verbs?|nouns?)\b
    | \b(?:grammar|grammatical(?:ly)?|proofread\w*|misspell\w*|spell(?:ing|ed)?|conjugat\w+|pronounc\w+|punctuation)\b
    | \b(?:rhym(?:e|es|ed|ing)|anagrams?|palindromes?|acrostics?|limericks?|haikus?|alliterations?|homophones?|puns?)\b
    | \b(?:synonyms?|antonyms?|acronyms?)\b
    | \bhow\s+many\s+(?:letters|syllables|vowels|consonants|words)\b
    | \b(?:starts?|begins?|beginning|starting|ends?|ending)\s+with\s+(?:the\s+)?letters?\b
    | \b(?:upper|lower|title|camel|snake)[\s-]?case\b
    """,
    re.IGNORECASE | re.VERBOSE,
)


def is_spoilt(prompt: str) -> bool:
    """Whether an English prompt asks for something of English words, or for another language.

    "Translate … into French" becomes, in Swahili, a request whose answer is French still; rhymes, spelling and counts
    of letters are right of the English words alone. Only the instruction tells, not what it is about: it is looked for
    in the prompt's first and last lines.
    """
    lines = [line for line in prompt.splitlines() if line.strip()]
    return any(_SPOILT.search(line) for line in {*lines[:1], *lines[-1:]})
