"""Serve a model on a Ray cluster: the application of `fcnrt serve`, as many times as there are replicas.

python examples/serve_cluster.py model.onnx --replicas 2 --port 8000

Needs `pip install 'fcnrt[cpu,ray,serve]' 'ray[serve]'`. Without $RAY_ADDRESS it starts Ray on this machine.
Whoever reaches the port can use it: a token and TLS are for a proxy in front.
"""

import argparse
from pathlib import Path


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of each replica, and cores that Ray keeps for it")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()

    import ray
    from ray import serve

    import fcnrt
    from fcnrt.serving import inference_application

    model, threads = options.model.resolve(), options.threads

    def application():
        """Made in each replica, with a Segmenter of its own."""
        segmenter = fcnrt.Segmenter(model, device="cpu", threads=threads, color="rgb")
        return inference_application(segmenter, name=model.stem)

    ray.init(include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": options.port})
    deployment = serve.deployment(
        serve.ingress(application)(), num_replicas=options.replicas, ray_actor_options={"num_cpus": threads}
    )
    serve.run(deployment.bind(), name=model.stem, blocking=True)


if __name__ == "__main__":
    main()
