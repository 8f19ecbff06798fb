"""Starts one Beam worker as the `boot` of Beam's images does: what a worker pool calls.

It asks the runner for the options of the pipeline and hands them to the worker's own program.
"""

import argparse
import os
import runpy

import grpc
from apache_beam.portability.api import (
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    endpoints_pb2,
)
from google.protobuf import json_format, text_format


def descriptor(address):
    return text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=address))


parser = argparse.ArgumentParser()
for name in ("id", "logging_endpoint", "artifact_endpoint", "provision_endpoint"):
    parser.add_argument(f"--{name}")
parser.add_argument("--control_endpoint")
given = parser.parse_args()

channel = grpc.insecure_channel(given.provision_endpoint)
info = (
    beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
    .GetProvisionInfo(
        beam_provision_api_pb2.GetProvisionInfoRequest(), metadata=[("worker_id", given.id)]
    )
    .info
)
os.environ["WORKER_ID"] = given.id
os.environ["PIPELINE_OPTIONS"] = json_format.MessageToJson(info.pipeline_options)
os.environ["CONTROL_API_SERVICE_DESCRIPTOR"] = descriptor(given.control_endpoint)
os.environ["LOGGING_API_SERVICE_DESCRIPTOR"] = descriptor(given.logging_endpoint)
runpy.run_module("apache_beam.runners.worker.sdk_worker_main", run_name="__main__")
