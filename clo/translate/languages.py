"""One table of languages: our code, and the code of every engine that has it."""

from __future__ import annotations

from clo.errors import UserError

_NLLB = """
af afr_Latn|am amh_Ethi|ar arb_Arab|az azj_Latn|be bel_Cyrl|bg bul_Cyrl|bn ben_Beng|bs bos_Latn|ca cat_Latn|cs ces_Latn
cy cym_Latn|da dan_Latn|de deu_Latn|el ell_Grek|en eng_Latn|es spa_Latn|et est_Latn|fa pes_Arab|ff fuv_Latn|fi fin_Latn
fr fra_Latn|ga gle_Latn|gd gla_Latn|gl glg_Latn|gu guj_Gujr|ha hau_Latn|he heb_Hebr|hi hin_Deva|hr hrv_Latn|ht hat_Latn
hu hun_Latn|hy hye_Armn|id ind_Latn|ig ibo_Latn|is isl_Latn|it ita_Latn|ja jpn_Jpan|jv jav_Latn|ka kat_Geor|kk kaz_Cyrl
km khm_Khmr|kn kan_Knda|ko kor_Hang|lb ltz_Latn|lg lug_Latn|ln lin_Latn|lo lao_Laoo|lt lit_Latn|lv lvs_Latn|mg plt_Latn
mk mkd_Cyrl|ml mal_Mlym|mn khk_Cyrl|mr mar_Deva|ms zsm_Latn|my mya_Mymr|ne npi_Deva|nl nld_Latn|no nob_Latn|ns nso_Latn
oc oci_Latn|or ory_Orya|pa pan_Guru|pl pol_Latn|ps pbt_Arab|pt por_Latn|ro ron_Latn|ru rus_Cyrl|sd snd_Arab|si sin_Sinh
sk slk_Latn|sl slv_Latn|so som_Latn|sq als_Latn|sr srp_Cyrl|ss ssw_Latn|su sun_Latn|sv swe_Latn|sw swh_Latn|ta tam_Taml
th tha_Thai|tl tgl_Latn|tn tsn_Latn|tr tur_Latn|uk ukr_Cyrl|ur urd_Arab|uz uzn_Latn|vi vie_Latn|wo wol_Latn|xh xho_Latn
yi ydd_Hebr|yo yor_Latn|zh zho_Hans|zu zul_Latn
"""
_ONLY_NLLB = """
eu eus_Latn|eo epo_Latn|ky kir_Cyrl|mi mri_Latn|mt mlt_Latn|rw kin_Latn|sn sna_Latn|st sot_Latn|tg tgk_Cyrl|te tel_Telu
ti tir_Ethi|tk tuk_Latn|ts tso_Latn|tw twi_Latn|ug uig_Arab
"""


def _table(text: str) -> dict[str, str]:
    return dict(entry.split() for entry in text.replace("\n", "|").split("|") if entry.strip())


M2M100 = {code: code for code in _table(_NLLB)}
NLLB = _table(_NLLB) | _table(_ONLY_NLLB)
TABLES = {"m2m100": M2M100, "nllb": NLLB}


def engine_code(engine: str, language: str) -> str:
    """An engine's own code for a language; an engine without a table (a chat model) takes any.

    Raises:
        UserError: the engine lacks the language; names one that has it, or all that it has.
    """
    table = TABLES.get(engine)
    if table is None:
        return language
    if language not in table:
        others = [other for other, known in TABLES.items() if language in known]
        mend = f"choose {' or '.join(others)}" if others else f"it has {' '.join(sorted(table))}; engine=chat takes any"
        raise UserError(f"data.translation.engine={engine} has no language {language!r}; {mend}")
    return table[language]
