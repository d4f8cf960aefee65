"""Services as data: service → method → request > response, each maybe a stream."""

SERVICES = {
    "moby.buildkit.v1.Control": {
        "DiskUsage": "DiskUsageRequest > DiskUsageResponse",
        "Prune": "PruneRequest > stream UsageRecord",
        "Solve": "SolveRequest > SolveResponse",
        "Status": "StatusRequest > stream StatusResponse",
        "Session": "stream BytesMessage > stream BytesMessage",
        "ListWorkers": "ListWorkersRequest > ListWorkersResponse",
        "Info": "InfoRequest > InfoResponse",
        "ListenBuildHistory": "BuildHistoryRequest > stream BuildHistoryEvent",
        "UpdateBuildHistory": "UpdateBuildHistoryRequest > UpdateBuildHistoryResponse",
    },
    "moby.buildkit.v1.frontend.LLBBridge": {
        "ResolveImageConfig": "ResolveImageConfigRequest > ResolveImageConfigResponse",
        "ResolveSourceMeta": "ResolveSourceMetaRequest > ResolveSourceMetaResponse",
        "Solve": "SolveRequest > SolveResponse",
        "ReadFile": "ReadFileRequest > ReadFileResponse",
        "ReadDir": "ReadDirRequest > ReadDirResponse",
        "StatFile": "StatFileRequest > StatFileResponse",
        "Evaluate": "EvaluateRequest > EvaluateResponse",
        "Ping": "PingRequest > PongResponse",
        "Return": "ReturnRequest > ReturnResponse",
        "Inputs": "InputsRequest > InputsResponse",
        "NewContainer": "NewContainerRequest > NewContainerResponse",
        "ReleaseContainer": "ReleaseContainerRequest > ReleaseContainerResponse",
        "ExecProcess": "stream ExecMessage > stream ExecMessage",
        "ReadFileContainer": "ReadFileRequest > ReadFileResponse",
        "ReadDirContainer": "ReadDirRequest > ReadDirResponse",
        "StatFileContainer": "StatFileRequest > StatFileResponse",
        "Warn": "WarnRequest > WarnResponse",
    },
    "moby.filesync.v1.Auth": {
        "Credentials": "CredentialsRequest > CredentialsResponse",
        "FetchToken": "FetchTokenRequest > FetchTokenResponse",
        "GetTokenAuthority": "GetTokenAuthorityRequest > GetTokenAuthorityResponse",
        "VerifyTokenAuthority": "VerifyTokenAuthorityRequest > VerifyTokenAuthorityResponse",
    },
    "moby.filesync.v1.FileSync": {
        "DiffCopy": "stream fsutil.types.Packet > stream fsutil.types.Packet",
        "TarStream": "stream fsutil.types.Packet > stream fsutil.types.Packet",
    },
    "moby.filesync.v1.FileSend": {
        "DiffCopy": "stream BytesMessage > stream BytesMessage",
    },
    "moby.buildkit.secrets.v1.Secrets": {
        "GetSecret": "GetSecretRequest > GetSecretResponse",
    },
    "moby.sshforward.v1.SSH": {
        "CheckAgent": "CheckAgentRequest > CheckAgentResponse",
        "ForwardAgent": "stream BytesMessage > stream BytesMessage",
    },
    "containerd.services.content.v1.Content": {
        "Info": "InfoRequest > InfoResponse",
        "Read": "ReadContentRequest > stream ReadContentResponse",
        "Write": "stream WriteContentRequest > stream WriteContentResponse",
    },
    "moby.upload.v1.Upload": {
        "Pull": "stream BytesMessage > stream BytesMessage",
    },
    "moby.exporter.v1.Exporter": {
        "FindExporters": "FindExportersRequest > FindExportersResponse",
        "FinalizeExport": "FinalizeExportRequest > FinalizeExportResponse",
    },
    "opentelemetry.proto.collector.trace.v1.TraceService": {
        "Export": "ExportTraceServiceRequest > ExportTraceServiceResponse",
    },
    "grpc.health.v1.Health": {
        "Check": "HealthCheckRequest > HealthCheckResponse",
        "Watch": "HealthCheckRequest > stream HealthCheckResponse",
    },
}
