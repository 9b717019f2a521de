"""One file over bad connections and from bad servers: whole, or one line."""

from dataclasses import replace

import pytest

from mnasnet_deploy.errors import MnasnetError, NotReadyError
from mnasnet_deploy.weights import transfer

pytestmark = pytest.mark.slow

# ---- connections that break


def test_what_broke_off_is_resumed_behind_what_came(
    publisher, answer, make_fetcher, checkpoint, place, archive, whole
):
    publisher.serve(place, answer(content=archive, sends=100_000), answer(content=archive))
    fetcher = make_fetcher()
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), archive)
    headers = [headers for _, headers in publisher.requests]
    assert (headers[1]["Range"], headers[1]["If-Range"]) == ("bytes=100000-", '"1"')


def test_a_date_will_do_where_there_is_no_etag(
    publisher, answer, make_fetcher, checkpoint, place, archive, long_ago, whole
):
    shape = answer(content=archive, etag=None, modified=long_ago)
    publisher.serve(place, replace(shape, sends=100_000), shape)
    fetcher = make_fetcher()
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), archive)
    assert publisher.requests[1][1]["If-Range"] == long_ago


@pytest.mark.parametrize("etag", [None, 'W/"1"'])
def test_without_a_strong_validator_it_all_comes_again(
    publisher, answer, make_fetcher, checkpoint, place, archive, etag, whole
):
    shape = answer(content=archive, etag=etag)
    publisher.serve(place, replace(shape, sends=100_000), shape)
    fetcher = make_fetcher()
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), archive)
    assert "Range" not in publisher.requests[1][1]


def test_a_server_without_ranges_sends_it_all_again(
    publisher, answer, make_fetcher, checkpoint, place, archive, whole
):
    shape = answer(content=archive, ranges=False)
    publisher.serve(place, replace(shape, sends=100_000), shape)
    fetcher = make_fetcher()
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), archive)


def test_a_server_that_stalls_is_asked_again(
    publisher, answer, make_fetcher, checkpoint, place, archive, whole, hasty
):
    publisher.serve(
        place, answer(content=archive, sends=100_000, holds=True), answer(content=archive)
    )
    fetcher = make_fetcher(limits=hasty)
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), archive)
    assert publisher.requests[1][1]["Range"] == "bytes=100000-"


def test_a_server_that_only_stalls_ends_in_one_line(
    publisher, answer, make_fetcher, checkpoint, place, archive, hasty
):
    publisher.serve(place, answer(content=archive, sends=0, holds=True))
    with pytest.raises(NotReadyError, match=r"does not go on, 3 times in a row; try again later"):
        make_fetcher(limits=hasty).fetch(checkpoint)
    assert len(publisher.requests) == 3


def test_a_slow_server_that_gets_further_is_not_given_up(
    publisher, answer, make_fetcher, checkpoint, place, archive, whole
):
    publisher.serve(place, answer(content=archive, sends=20_000))  # every time
    fetcher = make_fetcher()
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), archive)
    assert len(publisher.requests) == -(-len(archive) // 20_000)


def test_pieces_without_a_length_are_put_together(
    publisher, answer, make_fetcher, checkpoint, place, archive, whole
):
    shape = answer(content=archive, chunked=True)
    publisher.serve(place, replace(shape, sends=100_000), shape)
    fetcher = make_fetcher()
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), archive)
    assert publisher.requests[1][1]["Range"] == "bytes=100000-"


# ---- servers that lie


def test_a_length_beyond_the_end_ends_in_one_line_and_leaves_no_file(
    publisher, answer, make_fetcher, checkpoint, place, archive
):
    publisher.serve(place, answer(content=archive, claims=len(archive) + 1000, ranges=False))
    fetcher = make_fetcher()
    with pytest.raises(
        NotReadyError, match=r"ended after [\d,]+ of [\d,]+ bytes, 3 times in a row"
    ):
        fetcher.fetch(checkpoint)
    assert not fetcher.is_cached(checkpoint)


def test_a_length_before_the_end_is_noticed_by_what_is_inside(
    publisher, answer, make_fetcher, checkpoint, place, archive, lies_there
):
    publisher.serve(place, answer(content=archive, claims=200_000))
    fetcher = make_fetcher()
    with pytest.raises(MnasnetError, match=r"it ends early; try again later") as caught:
        fetcher.fetch(checkpoint)
    assert caught.value.exit_code == 1
    assert lies_there() == set()


def test_an_end_without_a_length_is_noticed_too(
    publisher, answer, make_fetcher, checkpoint, place, archive
):
    publisher.serve(place, answer(content=archive, claims=-1, sends=200_000))
    with pytest.raises(MnasnetError, match="it ends early"):
        make_fetcher().fetch(checkpoint)


def test_an_enormous_length_is_refused_before_a_byte_is_written(
    publisher, answer, make_fetcher, checkpoint, place, archive, lies_there
):
    publisher.serve(place, answer(content=archive, claims=5_000_000_000))
    fetcher = make_fetcher()
    with pytest.raises(MnasnetError, match=r"5,000,000,000 bytes are more"):
        fetcher.fetch(checkpoint)
    assert lies_there() == set()


def test_a_file_without_an_end_is_stopped(
    publisher, answer, make_fetcher, checkpoint, place, archive, monkeypatch
):
    monkeypatch.setattr(transfer, "MAX_BYTES", 150_000)
    publisher.serve(place, answer(content=archive, chunked=True))
    with pytest.raises(MnasnetError, match="it does not end"):
        make_fetcher().fetch(checkpoint)


@pytest.mark.parametrize("etag", ['"2"', None])
def test_a_file_that_changes_midway_is_not_mixed(
    publisher, answer, make_fetcher, checkpoint, place, archive, make_archive, etag, whole
):
    new = make_archive(1)
    publisher.serve(place, answer(content=archive, sends=100_000), answer(content=new, etag=etag))
    fetcher = make_fetcher()
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), new)


def test_a_server_that_mixes_versions_is_noticed_by_the_etag(
    publisher, answer, make_fetcher, checkpoint, place, archive, make_archive, whole
):
    new = make_archive(1)
    publisher.serve(
        place,
        answer(content=archive, sends=100_000),
        answer(content=new, etag='"2"', asks_if_range=False),
    )
    fetcher = make_fetcher()
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), new)
    assert "Range" not in publisher.requests[2][1]


def test_a_mixture_is_noticed_by_what_is_inside_and_fetched_anew(
    publisher, answer, make_fetcher, checkpoint, place, archive, make_archive, whole
):
    new = make_archive(1)[: len(archive)].ljust(len(archive), b"\0")
    publisher.serve(
        place,
        answer(content=archive, sends=100_000),
        answer(content=new, etag='"1"'),  # the same, it says
        answer(content=archive),
    )
    fetcher = make_fetcher()
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), archive)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": "bytes 0-99/100"},
        {"Content-Range": "bytes 100000-99/100"},
        {"Content-Range": "bytes 99999-300000/300001"},
        {"Content-Range": "nonsense"},
    ],
)
def test_another_part_than_was_asked_for_is_not_used(
    publisher, answer, make_fetcher, checkpoint, place, archive, headers, whole
):
    publisher.serve(
        place,
        answer(content=archive, sends=100_000),
        answer(content=archive, headers=headers),
        answer(content=archive),
    )
    fetcher = make_fetcher()
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), archive)


def test_a_file_that_shrank_is_fetched_anew(
    publisher, answer, make_fetcher, checkpoint, place, archive, make_archive, whole
):
    short = make_archive(2)[:50_000]
    publisher.serve(
        place,
        answer(content=archive, sends=100_000),
        answer(content=short, asks_if_range=False),  # 416: no such part
        answer(content=archive),
    )
    fetcher = make_fetcher()
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), archive)


# ---- servers that have something else


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (404, MnasnetError, r"no such file \(404\).*--base-url.*--weights"),
        (410, MnasnetError, r"no such file \(410\)"),
        (403, MnasnetError, r"the server refuses \(403 Forbidden\).*--base-url"),
        (418, MnasnetError, r"answers 418"),
        (500, NotReadyError, r"the server fails \(500 .*\), 3 times in a row; try again later"),
        (503, NotReadyError, r"the server fails \(503"),
        (429, NotReadyError, r"the server fails \(429"),
    ],
)
def test_an_error_of_the_server_is_one_line_with_the_next_step(
    publisher, answer, make_fetcher, checkpoint, place, status, kind, text, lies_there
):
    publisher.serve(place, answer(status=status, content=b"<html>sorry</html>"))
    fetcher = make_fetcher()
    with pytest.raises(kind, match=text) as caught:
        fetcher.fetch(checkpoint)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert lies_there() == set()


def test_a_server_that_fails_once_is_asked_again(
    publisher, answer, make_fetcher, checkpoint, place, archive, whole
):
    publisher.serve(place, answer(status=503), answer(content=archive))
    fetcher = make_fetcher()
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), archive)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "a web page"),
        (b"\xef\xbb\xbf\r\n <html>", "a web page"),
        (b"", "nothing at all"),
        (b"just some text, long enough to be looked at and not an archive", "not a gzip archive"),
    ],
)
def test_something_else_than_an_archive_is_named(
    publisher, answer, make_fetcher, checkpoint, place, content, kind, lies_there
):
    publisher.serve(place, answer(content=content))
    fetcher = make_fetcher()
    with pytest.raises(MnasnetError, match=rf"the server sent {kind} \(a login page"):
        fetcher.fetch(checkpoint)
    assert lies_there() == set()


def test_a_redirect_is_followed(publisher, answer, make_fetcher, checkpoint, place, archive, whole):
    publisher.serve(place, answer(status=302, headers={"Location": "/elsewhere/x"}))
    publisher.serve("/elsewhere/x", answer(content=archive))
    fetcher = make_fetcher()
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), archive)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/mnasnet-a1-050.tgz", r"redirects in a circle \(302\)"),
        ("file:///etc/passwd", r"redirects to nowhere \(302\)"),
        ("", r"redirects to nowhere \(302\)"),
    ],
)
def test_a_redirect_that_leads_nowhere_is_one_line(
    publisher, answer, make_fetcher, checkpoint, place, target, text
):
    headers = {"Location": target} if target else {}
    publisher.serve(place, answer(status=302, headers=headers))
    with pytest.raises(MnasnetError, match=text):
        make_fetcher().fetch(checkpoint)
