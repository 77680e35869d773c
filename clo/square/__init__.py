"""The cross-lingual square S[i, j] = log π(response j | prompt i), and every formula over it.

Enters: items and a language model. Leaves: scores, reference scores, sums of an objective. Never here: Lightning, files
other than those of the start model's scores, texts: all is token ids by now.
"""
