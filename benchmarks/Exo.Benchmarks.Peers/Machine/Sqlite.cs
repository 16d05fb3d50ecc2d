// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using System.Text;

namespace Exo.Benchmarks.Peers.Machine;

/// <summary>SQLite through its own C interface, set up as its authors' kvtest does it: write-ahead log, mapped database, prepared statements, one transaction.</summary>
internal sealed partial class Sqlite : IDisposable
{
    private const string Library = "libsqlite3.so.0";
    private const int Row = 100;
    private const int Done = 101;

    private readonly nint _database;
    private readonly nint _read;
    private readonly nint _write;

    public Sqlite(string path, long mappedBytes)
    {
        Check(sqlite3_open(Encoding.UTF8.GetBytes(path + "\0"), out _database));
        Execute("PRAGMA page_size=4096");
        Execute("PRAGMA journal_mode=WAL");
        Execute("PRAGMA synchronous=FULL");
        Execute($"PRAGMA mmap_size={mappedBytes}");
        Execute("CREATE TABLE IF NOT EXISTS kv(k INTEGER PRIMARY KEY, v BLOB)");
        _read = Prepare("SELECT v FROM kv WHERE k=?1");
        _write = Prepare("INSERT OR REPLACE INTO kv(k,v) VALUES(?1,?2)");
    }

    public static string? Missing() => NativeLibrary.TryLoad(Library, out _) ? null : $"{Library} is not installed";

    public void Begin() => Execute("BEGIN");

    public void Commit() => Execute("COMMIT");

    public void Checkpoint() => Execute("PRAGMA wal_checkpoint(TRUNCATE)");

    /// <summary>The blob as SQLite lends it, until the next call.</summary>
    public unsafe ReadOnlySpan<byte> Read(int key)
    {
        Check(sqlite3_reset(_read));
        Check(sqlite3_bind_int64(_read, 1, key));
        return sqlite3_step(_read) == Row
            ? new ReadOnlySpan<byte>((void*)sqlite3_column_blob(_read, 0), sqlite3_column_bytes(_read, 0))
            : throw new InvalidOperationException($"no blob {key}");
    }

    public unsafe void Write(int key, ReadOnlySpan<byte> value)
    {
        Check(sqlite3_reset(_write));
        Check(sqlite3_bind_int64(_write, 1, key));
        fixed (byte* bytes = value)
        {
            Check(sqlite3_bind_blob(_write, 2, (nint)bytes, value.Length, 0));
            int result = sqlite3_step(_write);
            if (result != Done)
            {
                Check(result);
            }
        }
    }

    public void Dispose()
    {
        _ = sqlite3_finalize(_read);
        _ = sqlite3_finalize(_write);
        _ = sqlite3_close(_database);
    }

    private void Execute(string sql) => Check(sqlite3_exec(_database, Encoding.UTF8.GetBytes(sql + "\0"), 0, 0, 0));

    private nint Prepare(string sql)
    {
        Check(sqlite3_prepare_v2(_database, Encoding.UTF8.GetBytes(sql + "\0"), -1, out nint statement, 0));
        return statement;
    }

    private static void Check(int result)
    {
        if (result != 0)
        {
            throw new IOException($"SQLite: error {result}");
        }
    }

    [LibraryImport(Library)]
    private static partial int sqlite3_open(byte[] path, out nint database);

    [LibraryImport(Library)]
    private static partial int sqlite3_close(nint database);

    [LibraryImport(Library)]
    private static partial int sqlite3_exec(nint database, byte[] sql, nint callback, nint argument, nint error);

    [LibraryImport(Library)]
    private static partial int sqlite3_prepare_v2(nint database, byte[] sql, int lengthBytes, out nint statement, nint tail);

    [LibraryImport(Library)]
    private static partial int sqlite3_bind_int64(nint statement, int parameter, long value);

    [LibraryImport(Library)]
    private static partial int sqlite3_bind_blob(nint statement, int parameter, nint value, int lengthBytes, nint destructor);

    [LibraryImport(Library)]
    private static partial int sqlite3_step(nint statement);

    [LibraryImport(Library)]
    private static partial int sqlite3_reset(nint statement);

    [LibraryImport(Library)]
    private static partial nint sqlite3_column_blob(nint statement, int column);

    [LibraryImport(Library)]
    private static partial int sqlite3_column_bytes(nint statement, int column);

    [LibraryImport(Library)]
    private static partial int sqlite3_finalize(nint statement);
}
