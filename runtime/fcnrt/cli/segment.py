"""`fcnrt segment`: pictures, videos, cameras and streams to labels, overlays, a window or the standard output."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path
from typing import Any

from ..backends import check_path
from ..video.sinks import STDOUT
from ..video.sources.deinterlacing import DEINTERLACE
from .argument_types import bands, count, key_value, legend_of, levels, positive, rate, seconds, share, size
from .jobs import check_codings, check_targets, plan_jobs
from .lists import expand_lists
from .model import add_model_arguments, open_segmenter
from .outputs import SideOutputs, add_coding_arguments, add_output_arguments, coding_of
from .rasters import check_rasters
from .run import Run
from .selection import add_selection_arguments
from .side_by_side import may_be_live, running_beside
from .terminal import complain, interrupts_end_at_once, progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `fcnrt segment`."""
    parser.add_argument("model", type=Path, help="a file made by export/to_onnx.py or export/build_engine.py")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="picture, video, folder, glob pattern, frame_%%04d.png, - (standard input), rtsp:// or other address, "
        "@FILE that lists inputs, "
        "camera:0, test:480x640@30*300",
    )
    parser.add_argument(
        "-o",
        "--output",
        help="folder to write to; of one input also a video (.mp4, .mkv, .mov), a picture (.png, .jpg ...), of a TIFF "
        "or JPEG 2000 of any size its labels with their place on Earth (.tif), "
        "an address to push to (rtsp, rtmp, udp), a live playlist (.m3u8), or - for bare labels on the standard output",
    )
    parser.add_argument("--show", action="store_true", help="show overlays in a window (q closes it)")
    parser.add_argument("--labels", action="store_true", help="write labels: palette PNGs, or a video in exact colours")
    parser.add_argument(
        "--label-format",
        choices=("palette", "grey"),
        default="palette",
        help="PNGs of labels: indices with colours, or bare (palette); OpenCV reads the indices of grey ones only",
    )
    parser.add_argument(
        "--overlay", action="store_true", help="write overlays (default: labels and overlay; video: overlay)"
    )
    parser.add_argument("--alpha", type=share, default=0.5, help="opacity of the overlay's colours, 0 to 1 (0.5)")
    parser.add_argument("--boundaries", action="store_true", help="draw lines where classes meet")
    parser.add_argument(
        "--legend",
        type=legend_of,
        nargs="?",
        const="present",
        metavar="all|present",
        help="draw the names of all classes, or of those that have been seen in the picture or film (present)",
    )
    parser.add_argument("--stats", action="store_true", help="print rates, queues, latency and drops of each stage")
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    add_model_arguments(parser.add_argument_group("model"))
    _add_input_arguments(parser.add_argument_group("inputs"))
    _add_stream_arguments(parser.add_argument_group("cameras and network streams"))
    add_selection_arguments(parser.add_argument_group("what is looked at"))
    add_coding_arguments(parser.add_argument_group("how overlay videos are encoded"))
    add_output_arguments(parser.add_argument_group("films in parts, events, and a page for browsers"))
    parser.set_defaults(run=segment, refuse=parser.error)


def _add_input_arguments(group: Any) -> None:
    group.add_argument(
        "--input-option",
        type=key_value,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of FFmpeg's demuxers and protocols; may be repeated",
    )
    group.add_argument(
        "--input-format",
        metavar="NAME",
        help="FFmpeg's name of the container, as rawvideo; of cameras the pixel format",
    )
    group.add_argument(
        "--input-rate", type=rate, metavar="R", help="frames per second of cameras, of pictures (25), of raw streams"
    )
    group.add_argument(
        "--deinterlace", choices=DEINTERLACE, default="auto", help="auto goes by what the stream says of itself (auto)"
    )
    group.add_argument("--camera-size", type=size, metavar="HxW", help="size of a camera's frames")
    group.add_argument(
        "--levels",
        type=levels,
        metavar="LOW-HIGH",
        help="values that become black and white, of pictures with more than 8 bits per channel",
    )
    group.add_argument(
        "--bands",
        type=bands,
        metavar="R,G,B",
        help="numbers, from 1, of a TIFF's or JPEG 2000's bands that are red, green and blue, or of one that is grey "
        "(as the file says); for labels as .tif",
    )
    group.add_argument(
        "--max-megapixels", type=positive, metavar="N", help="read pictures of up to these (default: Pillow's limit)"
    )


def _add_stream_arguments(group: Any) -> None:
    group.add_argument("--rtsp-transport", choices=("tcp", "udp", "udp_multicast", "http", "https"), help="(tcp)")
    group.add_argument(
        "--timeout", type=seconds, default=10.0, metavar="S", help="seconds without data before reconnecting (10)"
    )
    group.add_argument(
        "--rtsp-reconnect-interval",
        type=seconds,
        default=1.0,
        metavar="S",
        help="seconds before the first attempt to reconnect, doubled after each failure, 30 at most (1)",
    )
    group.add_argument(
        "--rtsp-reconnect-attempts",
        type=count,
        metavar="N",
        help="failures in a row that end the run (no limit)",
    )


def segment(options: argparse.Namespace) -> int:
    """Label the inputs; one that cannot be read is named and passed over, and makes the status 1."""
    if options.output is None and not (options.show or options.serve or options.events):
        options.refuse("expected -o, --show, --serve or --events, got none of them")
    if options.output == options.events == STDOUT:
        options.refuse("-o - and --events -: expected one of them on the standard output, got both")
    check_path(options.model)  # first: with model and input swapped, what is said of the input would mislead
    jobs, notes = plan_jobs(
        list(expand_lists(options.inputs)), options.output, labels=options.labels, overlay=options.overlay
    )
    check_targets(jobs, options.force, in_parts=options.segment_time is not None)
    check_codings(jobs, coding_of(options))
    check_rasters(jobs, options)
    live = [job for job in jobs if may_be_live(job)]
    live = live if len(live) > 1 else []
    others = [job for job in jobs if job not in live]
    if live and options.show:
        options.refuse(f"--show: expected one live input, got {len(live)}; --serve shows several")
    with SideOutputs(options) as side_outputs:
        with interrupts_end_at_once():
            segmenter = open_segmenter(options)
        with segmenter:
            side_outputs.prepare(segmenter.classes)
            run = Run(segmenter, options, side_outputs)
            for note in notes:
                complain(note)
            with (
                running_beside(live, lambda: Run(segmenter.clone(), options, side_outputs, aside=True)) as beside,
                closing(run.do_all(others)) as done,
            ):
                for _ in progress(done, "file", total=len(others), hide=len(others) <= 1):
                    pass
            for other in beside:
                run.add(other)
    run.report()
    return 1 if run.failed else 0
