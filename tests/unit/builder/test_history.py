"""One file with all instructions, against what a real dockerd 20.10 answered for it, builder by builder."""

from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.dockerfile.parser import parse
from compatd.engine.builder.evaluate import evaluate
from compatd.engine.builder.graph import Options, plan
from compatd.engine.builder.history import classic_text
from compatd.engine.images.platform import Platform

FILE = rb"""# escape=`
ARG B=scratch
FROM ${B}
ARG v=1
ARG w
ENV a=1 b="x y" c=${v:-q} d='$a' e=${none:+z}x
ENV old style  value $a
LABEL l=$a "m n"=o`
p
COPY --chown=1:2 f /x/
WORKDIR w
WORKDIR /abs/../q
EXPOSE 81-82/udp 80
VOLUME /v $a
STOPSIGNAL SIGTERM
SHELL ["/bin/a", "-c"]
CMD run $a
ENTRYPOINT ["e", "q\"r"]
HEALTHCHECK --interval=90s --retries=3 CMD x
ONBUILD RUN z
USER $a
MAINTAINER me you
"""
CONFIG = {
    "User": "1",
    "ExposedPorts": {"80/tcp": {}, "81/udp": {}, "82/udp": {}},
    "Env": [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "a=1", "b=x y", "c=1", "d=$a", "e=x", "old=style  value 1",
    ],
    "Cmd": ["/bin/a", "-c", "run $a"],
    "Healthcheck": {"Test": ["CMD-SHELL", "x"], "Interval": 90000000000, "Retries": 3},
    "ArgsEscaped": True,
    "Volumes": {"/v": {}, "1": {}},
    "WorkingDir": "/abs/../q",
    "Entrypoint": ["e", 'q"r'],
    "OnBuild": ["RUN z"],
    "Labels": {"l": "1", "m n": "op"},
    "StopSignal": "SIGTERM",
    "Shell": ["/bin/a", "-c"],
}  # fmt: skip
CLASSIC = """/bin/sh -c #(nop)  ARG v=1
/bin/sh -c #(nop)  ARG w
/bin/sh -c #(nop)  ENV a=1 b=x y c=1 d=$a e=x
/bin/sh -c #(nop)  ENV old=style  value 1
/bin/sh -c #(nop)  LABEL l=1 m n=op
/bin/sh -c #(nop) COPY --chown=1:2 file:85 in /x/ |
/bin/sh -c #(nop) WORKDIR /w
/bin/sh -c #(nop) WORKDIR /abs/../q
/bin/sh -c #(nop)  EXPOSE 80 81-82/udp
/bin/sh -c #(nop)  VOLUME [/v 1]
/bin/sh -c #(nop)  STOPSIGNAL SIGTERM
/bin/a -c #(nop)  SHELL [/bin/a -c]
/bin/a -c #(nop)  CMD ["/bin/a" "-c" "run $a"]
/bin/a -c #(nop)  ENTRYPOINT ["e" "q\\"r"]
/bin/a -c #(nop)  HEALTHCHECK &{["CMD-SHELL" "x"] "1m30s" "0s" "0s" '\\x03'}
/bin/a -c #(nop)  ONBUILD RUN z
/bin/a -c #(nop)  USER 1
/bin/a -c #(nop)  MAINTAINER me you"""
# What current BuildKit words otherwise: values of ARG, --chown, the list of EXPOSE, HEALTHCHECK.
BUILDKIT = """ARG v=1
ARG w=W
ENV a=1 b=x y c=1 d=$a e=x
ENV old=style  value 1
LABEL l=1 m n=op
COPY --chown=1:2 f /x/ # buildkit
WORKDIR /w
WORKDIR /abs/../q
EXPOSE [80/tcp 81/udp 82/udp]
VOLUME [/v 1]
STOPSIGNAL SIGTERM
SHELL [/bin/a -c]
CMD ["/bin/a" "-c" "run $a"]
ENTRYPOINT ["e" "q\\"r"]
HEALTHCHECK {Test:[CMD-SHELL x] Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:3}
USER 1
MAINTAINER me you"""


def test_all_instructions_as_a_real_engine_took_them() -> None:
    made = plan(parse(FILE), Options(build_args={"w": "W"}), Platform("linux", "amd64"))
    steps, state = evaluate(made, 0, None)
    assert state.config == CONFIG
    assert state.image["author"] == "me you"
    assert [entry["created_by"] for entry in state.image["history"]] == BUILDKIT.split("\n")
    texts = []
    for step in steps:
        text = step.classic_created_by
        if isinstance(step.instruction, i.Transfer):
            text = classic_text(step.instruction, None, ["/bin/sh", "-c"], "file:85") + "|"
        # Release 25 added the start interval between the times.
        texts.append(text.replace('"0s" "0s" "0s"', '"0s" "0s"'))
    assert texts == CLASSIC.split("\n")
