import io
import os
import sys
import threading

from cactus_tf.utils.terminal import any_character, without_stderr


def ascii_stream():
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


def test_a_terminal_that_lacks_a_character_gets_it_spelled_out(monkeypatch):
    stream = ascii_stream()
    monkeypatch.setattr(sys, "stdout", stream)
    with any_character():
        sys.stdout.write("77.21 ± 0.47 fünf… \udcfc")
        sys.stdout.flush()
    assert stream.buffer.getvalue() == rb"77.21 +/- 0.47 f\xfcnf... \udcfc"
    assert stream.errors == "strict"


def test_standard_error_comes_back_after_two_threads_hid_it(capfd):
    def hide():
        for _ in range(50):
            with without_stderr():
                os.write(2, b"hidden")

    threads = [threading.Thread(target=hide) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"shown")
    assert capfd.readouterr().err == "shown"


def test_a_program_without_standard_error_needs_no_silence(monkeypatch):
    def closed(descriptor):
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(os, "dup", closed)
    with without_stderr():
        done = True
    assert done
