"""What goes with a status: moby/buildkit, solver/errdefs and util/stack; and small things of others."""

TABLE = {
    "errdefs": {
        "Vertex": "1 digest string",
        "Source": "1 info pb.SourceInfo, 2 ranges pb.Range*",
        "Frontend": "1 name string, 2 source string",
        "FrontendCap": "1 name string",
        "CompatibilityFeature": "1 version int64, 2 feature string",
        "Subrequest": "1 name string",
        "Solve": """
            1 inputIDs string*, 2 mountIDs string*, 3 op pb.Op, 4 file FileAction@subject,
            5 cache ContentCache@subject, 6 description string>string
        """,
        "FileAction": "1 index int64",
        "ContentCache": "1 index int64",
        "ProvenanceMaterialsIncomplete": "1 incomplete ProvenanceMaterialIncomplete*",
        "ProvenanceMaterialIncomplete": """
            1 op string, 2 name string, 3 method string, 4 uri string, 5 final_uri string, 6 reason string
        """,
    },
    "stack": {
        "Stack": "1 frames Frame*, 2 cmdline string*, 3 pid int32, 4 version string, 5 revision string",
        "Frame": "1 Name string, 2 File string, 3 Line int32",
    },
    "google.rpc": {
        "Status": "1 code int32, 2 message string, 3 details google.protobuf.Any*",
    },
    "google.protobuf": {
        "Any": "1 type_url string, 2 value bytes",
        "Timestamp": "1 seconds int64, 2 nanos int32",
    },
    "opentelemetry.proto.collector.trace.v1": {
        "ExportTraceServiceRequest": "",
        "ExportTraceServiceResponse": "",
    },
    "grpc.health.v1": {
        "HealthCheckRequest": "1 service string",
        "HealthCheckResponse": "1 status enum",
    },
}
