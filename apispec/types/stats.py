"""A container's resource usage, as ``stats`` streams it."""

from apispec.model import Field, ListOf, MapOf, String, Struct, Uint32, Uint64

BlkioStatEntry = Struct(
    "container.BlkioStatEntry",
    major=Uint64,
    minor=Uint64,
    op=String,
    value=Uint64,
)

BlkioStats = Struct(
    "container.BlkioStats",
    io_service_bytes_recursive=ListOf(BlkioStatEntry),
    io_serviced_recursive=Field(ListOf(BlkioStatEntry), nullable=True),
    io_queue_recursive=Field(ListOf(BlkioStatEntry), nullable=True),
    io_service_time_recursive=Field(ListOf(BlkioStatEntry), nullable=True),
    io_wait_time_recursive=Field(ListOf(BlkioStatEntry), nullable=True),
    io_merged_recursive=Field(ListOf(BlkioStatEntry), nullable=True),
    io_time_recursive=Field(ListOf(BlkioStatEntry), nullable=True),
    sectors_recursive=Field(ListOf(BlkioStatEntry), nullable=True),
)

CPUUsage = Struct(
    "container.CPUUsage",
    total_usage=Uint64,
    percpu_usage=Field(ListOf(Uint64), nullable=True),
    usage_in_kernelmode=Uint64,
    usage_in_usermode=Uint64,
)

ThrottlingData = Struct(
    "container.ThrottlingData",
    periods=Uint64,
    throttled_periods=Uint64,
    throttled_time=Uint64,
)

CPUStats = Struct(
    "container.CPUStats",
    cpu_usage=CPUUsage,
    system_cpu_usage=Field(Uint64, nullable=True),
    online_cpus=Field(Uint32, nullable=True),
    throttling_data=ThrottlingData,
)

PidsStats = Struct(
    "container.PidsStats",
    current=Field(Uint64, nullable=True),
    limit=Field(Uint64, nullable=True),
)

MemoryStats = Struct(
    "container.MemoryStats",
    usage=Field(Uint64, nullable=True),
    max_usage=Field(Uint64, nullable=True),
    stats=MapOf(Uint64),
    failcnt=Field(Uint64, nullable=True),
    limit=Field(Uint64, nullable=True),
    commitbytes=Field(Uint64, nullable=True),
    commitpeakbytes=Field(Uint64, nullable=True),
    privateworkingset=Field(Uint64, nullable=True),
)

NetworkStats = Struct(
    "container.NetworkStats",
    rx_bytes=Uint64,
    rx_packets=Uint64,
    rx_errors=Uint64,
    rx_dropped=Uint64,
    tx_bytes=Uint64,
    tx_packets=Uint64,
    tx_errors=Uint64,
    tx_dropped=Uint64,
    endpoint_id=Field(String, nullable=True),
    instance_id=Field(String, nullable=True),
)

StorageStats = Struct(
    "container.StorageStats",
    read_count_normalized=Field(Uint64, nullable=True),
    read_size_bytes=Field(Uint64, nullable=True),
    write_count_normalized=Field(Uint64, nullable=True),
    write_size_bytes=Field(Uint64, nullable=True),
)

StatsResponse = Struct(
    "container.StatsResponse",
    id=Field(String, nullable=True),
    name=Field(String, nullable=True),
    os_type=Field(String, nullable=True),
    read=String,
    cpu_stats=CPUStats,
    memory_stats=MemoryStats,
    networks=Field(MapOf(NetworkStats), nullable=True),
    pids_stats=PidsStats,
    blkio_stats=BlkioStats,
    num_procs=Uint32,
    storage_stats=StorageStats,
    preread=String,
    precpu_stats=CPUStats,
)
