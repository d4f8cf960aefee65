"""What a client lends in its session: moby/buildkit, session, and tonistiigi/fsutil, types."""

TABLE = {
    "moby.filesync.v1": {
        "CredentialsRequest": "1 Host string",
        "CredentialsResponse": "1 Username string, 2 Secret string",
        "FetchTokenRequest": """
            1 ClientID string, 2 Host string, 3 Realm string, 4 Service string, 5 Scopes string*
        """,
        "FetchTokenResponse": "1 Token string, 2 ExpiresIn int64, 3 IssuedAt int64",
        "GetTokenAuthorityRequest": "1 Host string, 2 Salt bytes",
        "GetTokenAuthorityResponse": "1 PublicKey bytes",
        "VerifyTokenAuthorityRequest": "1 Host string, 2 Payload bytes, 3 Salt bytes",
        "VerifyTokenAuthorityResponse": "1 Signed bytes",
        "BytesMessage": "1 data bytes",
    },
    "moby.buildkit.secrets.v1": {
        "GetSecretRequest": "1 ID string, 2 annotations string>string",
        "GetSecretResponse": "1 data bytes",
    },
    "moby.sshforward.v1": {
        "BytesMessage": "1 data bytes",
        "CheckAgentRequest": "1 ID string",
        "CheckAgentResponse": "",
    },
    "moby.upload.v1": {
        "BytesMessage": "1 data bytes",
    },
    "moby.exporter.v1": {
        "FindExportersRequest": "1 metadata string>bytes, 2 refs string*",
        "FindExportersResponse": "1 exporters ExporterRequest*",
        "ExporterRequest": "1 Type string, 2 Attrs string>string",
        "FinalizeExportRequest": "1 exporter_response string>string",
        "FinalizeExportResponse": "",
    },
    "containerd.services.content.v1": {
        "Info": "1 digest string, 2 size int64",
        "InfoRequest": "1 digest string",
        "InfoResponse": "1 info Info",
        "ReadContentRequest": "1 digest string, 2 offset int64, 3 size int64",
        "ReadContentResponse": "1 offset int64, 2 data bytes",
        "WriteContentRequest": """
            1 action enum, 2 ref string, 3 total int64, 4 expected string, 5 offset int64, 6 data bytes,
            7 labels string>string
        """,
        "WriteContentResponse": "1 action enum, 4 offset int64, 5 total int64, 6 digest string",
    },
    "fsutil.types": {
        "Stat": """
            1 path string, 2 mode uint32, 3 uid uint32, 4 gid uint32, 5 size int64, 6 modTime int64,
            7 linkname string, 8 devmajor int64, 9 devminor int64, 10 xattrs string>bytes
        """,
        "Packet": "1 type enum, 2 stat Stat, 3 ID uint32, 4 data bytes",
    },
}
