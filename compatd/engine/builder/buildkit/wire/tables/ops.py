"""Low-level builds: moby/buildkit, solver/pb."""

TABLE = {
    "pb": {
        "Op": """
            1 inputs Input*, 2 exec ExecOp@op, 3 source SourceOp@op, 4 file FileOp@op, 5 build BuildOp@op,
            6 merge MergeOp@op, 7 diff DiffOp@op, 8 passthrough PassthroughOp@op, 10 platform Platform,
            11 constraints WorkerConstraints
        """,
        "Platform": """
            1 Architecture string, 2 OS string, 3 Variant string, 4 OSVersion string, 5 OSFeatures string*
        """,
        "Input": "1 digest string, 2 index int64",
        "ExecOp": """
            1 meta Meta, 2 mounts Mount*, 3 network enum, 4 security enum, 5 secretenv SecretEnv*,
            6 cdiDevices CDIDevice*
        """,
        "Meta": """
            1 args string*, 2 env string*, 3 cwd string, 4 user string, 5 proxy_env ProxyEnv,
            6 extraHosts HostIP*, 7 hostname string, 9 ulimit Ulimit*, 10 cgroupParent string,
            11 removeMountStubsRecursive bool, 12 validExitCodes int32*
        """,
        "HostIP": "1 Host string, 2 IP string",
        "Ulimit": "1 Name string, 2 Soft int64, 3 Hard int64",
        "SecretEnv": "1 ID string, 2 name string, 3 optional bool",
        "CDIDevice": "1 name string, 2 optional bool",
        "Mount": """
            1 input int64, 2 selector string, 3 dest string, 4 output int64, 5 readonly bool,
            6 mountType enum, 19 TmpfsOpt TmpfsOpt, 20 cacheOpt CacheOpt, 21 secretOpt SecretOpt,
            22 SSHOpt SSHOpt, 23 resultID string, 24 contentCache enum
        """,
        "TmpfsOpt": "1 size int64",
        "CacheOpt": "1 ID string, 2 sharing enum",
        "SecretOpt": "1 ID string, 2 uid uint32, 3 gid uint32, 4 mode uint32, 5 optional bool",
        "SSHOpt": "1 ID string, 2 uid uint32, 3 gid uint32, 4 mode uint32, 5 optional bool",
        "SourceOp": "1 identifier string, 2 attrs string>string",
        "BuildOp": "1 builder int64, 2 inputs string>BuildInput, 3 def Definition, 4 attrs string>string",
        "BuildInput": "1 input int64",
        "OpMetadata": """
            1 ignore_cache bool, 2 description string>string, 4 export_cache ExportCache, 5 caps string>bool,
            6 progress_group ProgressGroup, 7 linux_resources LinuxResources
        """,
        "Source": "1 locations string>Locations, 2 infos SourceInfo*",
        "Locations": "1 locations Location*",
        "SourceInfo": "1 filename string, 2 data bytes, 3 definition Definition, 4 language string",
        "Location": "1 sourceIndex int32, 2 ranges Range*",
        "Range": "1 start Position, 2 end Position",
        "Position": "1 line int32, 2 character int32",
        "ExportCache": "1 Value bool",
        "ProgressGroup": "1 id string, 2 name string, 3 weak bool",
        "LinuxResources": """
            1 memory int64, 2 memorySwap int64, 3 cpuShares uint64, 4 cpuPeriod uint64, 5 cpuQuota int64,
            6 cpusetCpus string, 7 cpusetMems string
        """,
        "ProxyEnv": """
            1 http_proxy string, 2 https_proxy string, 3 ftp_proxy string, 4 no_proxy string,
            5 all_proxy string
        """,
        "WorkerConstraints": "1 filter string*",
        "Definition": "1 def bytes*, 2 metadata string>OpMetadata, 3 Source Source",
        "FileOp": "2 actions FileAction*",
        "FileAction": """
            1 input int64, 2 secondaryInput int64, 3 output int64, 4 copy FileActionCopy@action,
            5 mkfile FileActionMkFile@action, 6 mkdir FileActionMkDir@action, 7 rm FileActionRm@action,
            8 symlink FileActionSymlink@action
        """,
        "FileActionCopy": """
            1 src string, 2 dest string, 3 owner ChownOpt, 4 mode int32, 5 followSymlink bool,
            6 dirCopyContents bool, 7 attemptUnpackDockerCompatibility bool, 8 createDestPath bool,
            9 allowWildcard bool, 10 allowEmptyWildcard bool, 11 timestamp int64,
            12 include_patterns string*, 13 exclude_patterns string*, 14 alwaysReplaceExistingDestPaths bool,
            15 modeStr string, 16 required_paths string*
        """,
        "FileActionMkFile": """
            1 path string, 2 mode int32, 3 data bytes, 4 owner ChownOpt, 5 timestamp int64
        """,
        "FileActionSymlink": "1 oldpath string, 2 newpath string, 3 owner ChownOpt, 4 timestamp int64",
        "FileActionMkDir": """
            1 path string, 2 mode int32, 3 makeParents bool, 4 owner ChownOpt, 5 timestamp int64
        """,
        "FileActionRm": "1 path string, 2 allowNotFound bool, 3 allowWildcard bool",
        "ChownOpt": "1 user UserOpt, 2 group UserOpt",
        "UserOpt": "1 byName NamedUserOpt@user, 2 byID uint32@user",
        "NamedUserOpt": "1 name string, 2 input int64",
        "MergeInput": "1 input int64",
        "MergeOp": "1 inputs MergeInput*",
        "LowerDiffInput": "1 input int64",
        "UpperDiffInput": "1 input int64",
        "DiffOp": "1 lower LowerDiffInput, 2 upper UpperDiffInput",
        "PassthroughOp": "1 id string, 2 outputs int64*",
    },
}
