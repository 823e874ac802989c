import platform

from pipeline_assets.classify.memory import keep_freed_memory


def test_glibc_takes_the_settings_as_often_as_asked():
    is_glibc = platform.libc_ver()[0] == "glibc"
    assert [keep_freed_memory(), keep_freed_memory()] == [is_glibc, is_glibc]
