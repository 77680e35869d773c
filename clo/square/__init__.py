"""The cross-lingual square S[i, j] = log π(response j | prompt i), and every formula over it.

Enters: items and a language model. Leaves: scores, reference scores, sums of an objective. Never here: Lightning, files
other than the reference cache, texts: all is token ids by now.
"""
