"""What arrives on a channel is read as it came, in whatever pieces, and silence alone is an error."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paramiko.buffered_pipe import PipeTimeout

from fedcli.exchange.store.sftp.channel_buffer import ChannelBuffer


@given(pieces=st.lists(st.binary(min_size=1, max_size=9), max_size=12), asked=st.lists(st.integers(1, 20), max_size=20))
def test_bytes_come_out_in_order_whatever_the_pieces(pieces: list[bytes], asked: list[int]) -> None:
    buffer = ChannelBuffer()
    for piece in pieces:
        buffer.feed(piece)
    buffer.close()
    whole = b"".join(pieces)
    for count in asked:
        assert buffer.read(count) == whole[:count]
        whole = whole[count:]
        assert len(buffer) == len(whole)
    assert buffer.read(1 << 20) == whole
    assert buffer.read(1) == b""


def test_a_reader_gets_all_that_it_asked_for_at_once() -> None:
    buffer = ChannelBuffer()
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.extend(buffer.read(10, 20.0) for _ in range(2)))
    reader.start()
    for piece in (b"abc", b"defg", b"hijklmno", b"pqrst"):
        buffer.feed(piece)
    reader.join(20)
    assert got == [b"abcdefghij", b"klmnopqrst"]


def test_the_end_wakes_a_reader_with_what_there_is() -> None:
    buffer = ChannelBuffer()
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(buffer.read(10, 20.0)))
    reader.start()
    buffer.feed(b"abc")
    buffer.close()
    reader.join(20)
    assert got == [b"abc"]


def test_silence_is_an_error_and_loses_nothing() -> None:
    buffer = ChannelBuffer()
    with pytest.raises(PipeTimeout):
        buffer.read(1, 0.01)
    buffer.feed(b"ab")
    with pytest.raises(PipeTimeout):
        buffer.read(3, 0.01)
    buffer.feed(b"c")
    assert buffer.read(3, 0.01) == b"abc"


def test_a_peer_that_is_slow_and_not_silent_is_waited_for() -> None:
    buffer = ChannelBuffer()

    def drip() -> None:
        for _ in range(8):
            time.sleep(0.3)
            buffer.feed(b"x")

    threading.Thread(target=drip).start()
    assert buffer.read(8, 2.0) == b"x" * 8


def test_more_than_can_be_waited_for_comes_as_it_arrives() -> None:
    buffer = ChannelBuffer()
    buffer.feed(bytes(600 << 10))
    assert len(buffer.read(4 << 20, 0.01)) == 600 << 10
