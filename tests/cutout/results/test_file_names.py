"""Names of saved files: after the batch, and nothing of a name reaches the header or a file system."""

import pytest

from cutout.results.file_names import saved_as


@pytest.mark.parametrize(
    ("name", "plain", "encoded"),
    [
        ("spring 2026", "spring_2026", ""),
        ("", "batch", ""),
        ("../../etc/passwd", "etc_passwd", ""),
        ('x"; filename="evil.exe\r\nSet-Cookie: a=b', "x_filename_evil.exe_Set-Cookie_a_b", ""),
        ("\u202egpj.exe", "gpj.exe", ""),
        ("Frühling", "Fr_hling", "Fr%C3%BChling"),
        ("Fru\u0308hling", "Fr_hling", "Fr%C3%BChling"),
        ("图片", "batch", "%E5%9B%BE%E7%89%87"),
        ("a" * 300, "a" * 80, ""),
    ],
)
def test_a_name_is_safe(name: str, plain: str, encoded: str) -> None:
    """Letters and digits stay, and all browsers can read it."""
    expected = f'attachment; filename="{plain}.csv"'
    assert saved_as(name, ".csv") == expected + (f"; filename*=UTF-8''{encoded}.csv" if encoded else "")
