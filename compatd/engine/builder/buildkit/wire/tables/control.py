"""What a client asks of the builder: moby/buildkit, api/services/control and api/types."""

TABLE = {
    "moby.buildkit.v1": {
        "PruneRequest": """
            1 filter string*, 2 all bool, 3 keepDuration int64, 4 reservedSpace int64, 5 maxUsedSpace int64,
            6 minFreeSpace int64
        """,
        "DiskUsageRequest": "1 filter string*, 2 ageLimit int64",
        "DiskUsageResponse": "1 record UsageRecord*",
        "UsageRecord": """
            1 ID string, 2 Mutable bool, 3 InUse bool, 4 Size int64, 5 Parent string,
            6 CreatedAt google.protobuf.Timestamp, 7 LastUsedAt google.protobuf.Timestamp,
            8 UsageCount int64, 9 Description string, 10 RecordType string, 11 Shared bool,
            12 Parents string*
        """,
        "SolveRequest": """
            1 Ref string, 2 Definition pb.Definition, 3 ExporterDeprecated string,
            4 ExporterAttrsDeprecated string>string, 5 Session string, 6 Frontend string,
            7 FrontendAttrs string>string, 8 Cache CacheOptions, 9 Entitlements string*,
            10 FrontendInputs string>pb.Definition, 11 Internal bool,
            12 SourcePolicy moby.buildkit.v1.sourcepolicy.Policy, 13 Exporters Exporter*,
            14 EnableSessionExporter bool, 15 SourcePolicySession string, 16 CompatibilityVersion int64,
            17 ProxyNetwork bool
        """,
        "CacheOptions": """
            1 ExportRefDeprecated string, 2 ImportRefsDeprecated string*,
            3 ExportAttrsDeprecated string>string, 4 Exports CacheOptionsEntry*,
            5 Imports CacheOptionsEntry*
        """,
        "CacheOptionsEntry": "1 Type string, 2 Attrs string>string",
        "SolveResponse": "1 ExporterResponse string>string",
        "StatusRequest": "1 Ref string",
        "StatusResponse": """
            1 vertexes Vertex*, 2 statuses VertexStatus*, 3 logs VertexLog*, 4 warnings VertexWarning*
        """,
        "Vertex": """
            1 digest string, 2 inputs string*, 3 name string, 4 cached bool,
            5 started google.protobuf.Timestamp, 6 completed google.protobuf.Timestamp, 7 error string,
            8 progressGroup pb.ProgressGroup
        """,
        "VertexStatus": """
            1 ID string, 2 vertex string, 3 name string, 4 current int64, 5 total int64,
            6 timestamp google.protobuf.Timestamp, 7 started google.protobuf.Timestamp,
            8 completed google.protobuf.Timestamp
        """,
        "VertexLog": "1 vertex string, 2 timestamp google.protobuf.Timestamp, 3 stream int64, 4 msg bytes",
        "VertexWarning": """
            1 vertex string, 2 level int64, 3 short bytes, 4 detail bytes*, 5 url string,
            6 info pb.SourceInfo, 7 ranges pb.Range*
        """,
        "BytesMessage": "1 data bytes",
        "ListWorkersRequest": "1 filter string*",
        "ListWorkersResponse": "1 record moby.buildkit.v1.types.WorkerRecord*",
        "InfoRequest": "",
        "InfoResponse": "1 buildkitVersion moby.buildkit.v1.types.BuildkitVersion",
        "BuildHistoryRequest": """
            1 ActiveOnly bool, 2 Ref string, 3 EarlyExit bool, 4 Filter string*, 5 Limit int32
        """,
        "BuildHistoryEvent": "1 type enum, 2 record BuildHistoryRecord",
        "BuildHistoryRecord": """
            1 Ref string, 2 Frontend string, 3 FrontendAttrs string>string, 4 Exporters Exporter*,
            5 error google.rpc.Status, 6 CreatedAt google.protobuf.Timestamp,
            7 CompletedAt google.protobuf.Timestamp, 8 logs Descriptor, 9 ExporterResponse string>string,
            10 Result BuildResultInfo, 11 Results string>BuildResultInfo, 12 Generation int32,
            13 trace Descriptor, 14 pinned bool, 15 numCachedSteps int32, 16 numTotalSteps int32,
            17 numCompletedSteps int32, 18 externalError Descriptor, 19 numWarnings int32
        """,
        "UpdateBuildHistoryRequest": "1 Ref string, 2 Pinned bool, 3 Delete bool, 4 Finalize bool",
        "UpdateBuildHistoryResponse": "",
        "Descriptor": "1 media_type string, 2 digest string, 3 size int64, 5 annotations string>string",
        "BuildResultInfo": """
            1 ResultDeprecated Descriptor, 2 Attestations Descriptor*, 3 Results int64>Descriptor
        """,
        "Exporter": "1 Type string, 2 Attrs string>string",
    },
    "moby.buildkit.v1.types": {
        "WorkerRecord": """
            1 ID string, 2 Labels string>string, 3 platforms pb.Platform*, 4 GCPolicy GCPolicy*,
            5 BuildkitVersion BuildkitVersion, 6 CDIDevices CDIDevice*
        """,
        "GCPolicy": """
            1 all bool, 2 keepDuration int64, 3 reservedSpace int64, 4 filters string*, 5 maxUsedSpace int64,
            6 minFreeSpace int64
        """,
        "BuildkitVersion": """
            1 package string, 2 version string, 3 revision string, 4 dockerfileVersion string
        """,
        "CDIDevice": "1 Name string, 2 AutoAllow bool, 3 Annotations string>string, 4 OnDemand bool",
    },
}
