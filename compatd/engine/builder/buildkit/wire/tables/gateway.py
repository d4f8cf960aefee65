"""What a frontend asks of the builder: moby/buildkit, frontend/gateway, util/apicaps and sourcepolicy."""

TABLE = {
    "moby.buildkit.v1.frontend": {
        "Result": """
            1 refDeprecated string@result, 2 refsDeprecated RefMapDeprecated@result, 3 ref Ref@result,
            4 refs RefMap@result, 10 metadata string>bytes, 12 attestations string>Attestations
        """,
        "RefMapDeprecated": "1 refs string>string",
        "Ref": "1 id string, 2 def pb.Definition",
        "RefMap": "1 refs string>Ref",
        "Attestations": "1 attestation Attestation*",
        "Attestation": """
            1 kind enum, 2 metadata string>bytes, 3 ref Ref, 4 path string, 5 inTotoPredicateType string,
            6 inTotoSubjects InTotoSubject*
        """,
        "InTotoSubject": "1 kind enum, 2 digest string*, 3 name string",
        "ReturnRequest": "1 result Result, 2 error google.rpc.Status",
        "ReturnResponse": "",
        "InputsRequest": "",
        "InputsResponse": "1 Definitions string>pb.Definition",
        "ResolveImageConfigRequest": """
            1 Ref string, 2 Platform pb.Platform, 3 ResolveMode string, 4 LogName string,
            5 ResolverType int32, 6 SessionID string, 7 StoreID string,
            8 SourcePolicies moby.buildkit.v1.sourcepolicy.Policy*
        """,
        "ResolveImageConfigResponse": "1 Digest string, 2 Config bytes, 3 Ref string",
        "ResolveSourceMetaRequest": """
            1 Source pb.SourceOp, 2 Platform pb.Platform, 3 LogName string, 4 ResolveMode string,
            5 Git ResolveSourceGitRequest, 6 Image ResolveSourceImageRequest,
            7 HTTP ResolveSourceHTTPRequest, 8 SourcePolicies moby.buildkit.v1.sourcepolicy.Policy*
        """,
        "ResolveSourceMetaResponse": """
            1 Source pb.SourceOp, 2 Image ResolveSourceImageResponse, 3 Git ResolveSourceGitResponse,
            4 HTTP ResolveSourceHTTPResponse
        """,
        "ResolveSourceImageRequest": """
            1 NoConfig bool, 2 AttestationChain bool, 3 ResolveAttestations string*
        """,
        "AttestationChain": """
            1 Root string, 2 ImageManifest string, 3 AttestationManifest string,
            4 SignatureManifests string*, 5 Blobs string>Blob
        """,
        "ResolveSourceImageResponse": """
            1 Digest string, 2 Config bytes, 3 AttestationChain AttestationChain
        """,
        "ResolveSourceGitRequest": "1 ReturnObject bool",
        "ResolveSourceGitResponse": """
            1 Checksum string, 2 Ref string, 3 CommitChecksum string, 4 CommitObject bytes,
            5 TagObject bytes
        """,
        "ResolveSourceHTTPResponse": """
            1 Checksum string, 2 Filename string, 3 LastModified google.protobuf.Timestamp,
            4 ChecksumResponse ChecksumResponse
        """,
        "ResolveSourceHTTPRequest": "1 ChecksumRequest ChecksumRequest",
        "ChecksumRequest": "1 Algo enum, 2 Suffix bytes",
        "ChecksumResponse": "1 Digest string, 2 Suffix bytes",
        "SolveRequest": """
            1 Definition pb.Definition, 2 Frontend string, 3 FrontendOpt string>string,
            5 allowResultReturn bool, 6 allowResultArrayRef bool, 10 Final bool, 11 ExporterAttr bytes,
            12 CacheImports CacheOptionsEntry*, 13 FrontendInputs string>pb.Definition, 14 Evaluate bool,
            15 SourcePolicies moby.buildkit.v1.sourcepolicy.Policy*
        """,
        "CacheOptionsEntry": "1 Type string, 2 Attrs string>string",
        "SolveResponse": "1 ref string, 3 result Result",
        "ReadFileRequest": "1 Ref string, 2 FilePath string, 3 Range FileRange, 4 MountIndex int32",
        "FileRange": "1 Offset int64, 2 Length int64",
        "ReadFileResponse": "1 Data bytes",
        "ReadDirRequest": "1 Ref string, 2 DirPath string, 3 IncludePattern string, 4 MountIndex int32",
        "ReadDirResponse": "1 entries fsutil.types.Stat*",
        "StatFileRequest": "1 Ref string, 2 Path string, 3 MountIndex int32",
        "StatFileResponse": "1 stat fsutil.types.Stat",
        "EvaluateRequest": "1 Ref string",
        "EvaluateResponse": "",
        "PingRequest": "",
        "PongResponse": """
            1 FrontendAPICaps moby.buildkit.v1.apicaps.APICap*, 2 LLBCaps moby.buildkit.v1.apicaps.APICap*,
            3 Workers moby.buildkit.v1.types.WorkerRecord*
        """,
        "WarnRequest": """
            1 digest string, 2 level int64, 3 short bytes, 4 detail bytes*, 5 url string,
            6 info pb.SourceInfo, 7 ranges pb.Range*
        """,
        "WarnResponse": "",
        "NewContainerRequest": """
            1 ContainerID string, 2 Mounts pb.Mount*, 3 Network enum, 4 platform pb.Platform,
            5 constraints pb.WorkerConstraints, 6 extraHosts pb.HostIP*, 7 hostname string
        """,
        "NewContainerResponse": "",
        "ReleaseContainerRequest": "1 ContainerID string",
        "ReleaseContainerResponse": "",
        "ExecMessage": """
            1 ProcessID string, 2 Init InitMessage@Input, 3 File FdMessage@Input,
            4 Resize ResizeMessage@Input, 5 Started StartedMessage@Input, 6 Exit ExitMessage@Input,
            7 Done DoneMessage@Input, 8 Signal SignalMessage@Input
        """,
        "InitMessage": """
            1 ContainerID string, 2 Meta pb.Meta, 3 Fds uint32*, 4 Tty bool, 5 Security enum,
            6 secretenv pb.SecretEnv*
        """,
        "ExitMessage": "1 Code uint32, 2 Error google.rpc.Status",
        "StartedMessage": "",
        "DoneMessage": "",
        "FdMessage": "1 Fd uint32, 2 EOF bool, 3 Data bytes",
        "ResizeMessage": "1 Rows uint32, 2 Cols uint32",
        "SignalMessage": "1 Name string",
        "Blob": "1 descriptor Descriptor, 2 data bytes",
        "Descriptor": "1 media_type string, 2 digest string, 3 size int64, 5 annotations string>string",
    },
    "moby.buildkit.v1.apicaps": {
        "APICap": """
            1 ID string, 2 Enabled bool, 3 Deprecated bool, 4 DisabledReason string,
            5 DisabledReasonMsg string, 6 DisabledAlternative string
        """,
    },
    "moby.buildkit.v1.sourcepolicy": {
        "Rule": "1 action enum, 2 selector Selector, 3 updates Update",
        "Update": "1 identifier string, 2 attrs string>string",
        "Selector": "1 identifier string, 2 match_type enum, 3 constraints AttrConstraint*",
        "AttrConstraint": "1 key string, 2 value string, 3 condition enum",
        "Policy": "1 version int64, 2 rules Rule*",
    },
}
