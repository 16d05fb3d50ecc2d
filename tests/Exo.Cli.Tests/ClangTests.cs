// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using Exo.Tests;

namespace Exo.Cli.Tests;

/// <summary>C functions, compiled by clang for eBPF, go through <c>exo udf run</c> and give the answers C# computes.</summary>
public sealed class ClangTests
{
    private const string Head = """
        typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long u64;

        """;

    private static readonly Dictionary<string, (string Code, Func<byte[], ulong> Expected)> Programs = new()
    {
        ["sum"] = (
            "u64 entry(u8 *m, u64 n) { u64 s = 0; for (u64 i = 0; i < n; i++) s += m[i]; return s; }",
            m => (ulong)m.Sum(b => b)),
        ["checksum by a function of its own"] = (
            """
            static __attribute__((noinline)) u32 step(u32 crc, u8 byte) {
              crc ^= byte;
              for (int k = 0; k < 8; k++) crc = (crc >> 1) ^ (0xedb88320u & -(crc & 1));
              return crc;
            }
            u64 entry(u8 *m, u64 n) __attribute__((section(".text")));
            u64 entry(u8 *m, u64 n) { u32 crc = ~0u; for (u64 i = 0; i < n; i++) crc = step(crc, m[i]); return (u32)~crc; }
            """,
            m => System.IO.Hashing.Crc32.HashToUInt32(m)),
        ["sort in place"] = (
            """
            u64 entry(u8 *m, u64 n) {
              for (u32 i = 1; i < n; i++) { u8 v = m[i]; u32 j = i; while (j > 0 && m[j - 1] > v) { m[j] = m[j - 1]; j--; } m[j] = v; }
              u64 r = 0; for (u32 i = 0; i < n; i++) r = r * 31 + m[i]; return r;
            }
            """,
            m => m.Order().Aggregate(0UL, (r, b) => (r * 31) + b)),
        ["table on the stack"] = (
            """
            u64 entry(u8 *m, u64 n) {
              u32 h[16]; for (int i = 0; i < 16; i++) h[i] = 0;
              for (u64 i = 0; i < n; i++) h[m[i] & 15]++;
              u64 r = 0; for (int i = 0; i < 16; i++) r = r * 5 + h[i]; return r;
            }
            """,
            m => Enumerable.Range(0, 16).Aggregate(0UL, (r, i) => (r * 5) + (ulong)m.Count(b => (b & 15) == i))),
        ["records of a length they carry"] = (
            """
            u64 entry(u8 *m, u64 n) {
              u64 i = 0, s = 0;
              while (i + 2 <= n) { u8 t = m[i], l = m[i + 1]; if (i + 2 + l > n) return s | 1ul << 40; if (t & 1) s += m[i + 1]; i += 2 + l; }
              return s;
            }
            """,
            Records),
        ["pointers to the end"] = (
            "u64 entry(u8 *m, u64 n) { u64 s = 0; for (u8 *p = m; p + 4 <= m + n; p += 4) s += *(u32 *)p; return s; }",
            m => Enumerable.Range(0, m.Length / 4).Aggregate(0UL, (s, i) => s + BitConverter.ToUInt32(m, i * 4))),
        ["a structure handed to functions"] = (
            """
            struct three { u64 a, b, c; };
            static __attribute__((noinline)) void fill(struct three *s, u64 x);
            static __attribute__((noinline)) u64 total(const struct three *s);
            u64 entry(u8 *m, u64 n) { struct three s; fill(&s, m[0]); return total(&s); }
            static void fill(struct three *s, u64 x) { s->a = x; s->b = x * 2; s->c = x * 3; }
            static u64 total(const struct three *s) { return s->a + s->b + s->c; }
            """,
            m => (ulong)m[0] * 6),
        ["binary search"] = (
            """
            u64 entry(u8 *m, u64 n) {
              u32 lo = 0, hi = n;
              while (lo < hi) { u32 mid = lo + (hi - lo) / 2; if (m[mid] < 5) lo = mid + 1; else hi = mid; }
              return lo;
            }
            """,
            Search),
        ["decimal digits"] = (
            """
            u64 entry(u8 *m, u64 n) {
              u32 v = m[0] * 1000u + m[1]; char b[12]; int i = 11; b[i] = 0;
              do { b[--i] = '0' + v % 10; v /= 10; } while (v && i > 0);
              u64 h = 0; for (; i < 11; i++) h = h * 256 + (u8)b[i]; return h;
            }
            """,
            m => ((m[0] * 1000) + m[1]).ToString(CultureInfo.InvariantCulture).Aggregate(0UL, (h, digit) => (h * 256) + digit)),
        ["a little machine with a stack"] = (
            """
            u64 entry(u8 *m, u64 n) {
              u64 st[8]; int sp = 0; for (int i = 0; i < 8; i++) st[i] = 0;
              for (u64 i = 0; i < n && i < 6; i++) {
                u8 o = m[i];
                if (o != 2) { if (sp >= 8) return 1000; st[sp++] = o; }
                else { if (sp < 2) return 2000; u64 b = st[--sp], a = st[--sp]; st[sp++] = a * b + 1; }
              }
              return sp ? st[sp - 1] * 100 + sp : 0;
            }
            """,
            Machine),
        ["atomics"] = (
            """
            u64 entry(u64 *m, u64 n) { __sync_fetch_and_add(&m[0], 5); __sync_fetch_and_add((u32 *)&m[1], 7); return m[0] ^ m[1]; }
            """,
            m => (BitConverter.ToUInt64(m) + 5) ^ ((BitConverter.ToUInt64(m, 8) & ~0xffff_ffffUL) | unchecked(BitConverter.ToUInt32(m, 8) + 7))),
    };

    public static TheoryData<string> Names => [.. Programs.Keys];

    private static ulong Machine(byte[] m)
    {
        Stack<ulong> stack = new();
        foreach (byte operation in m.Take(6))
        {
            if (operation == 2 && stack.Count < 2)
            {
                return 2000;
            }

            stack.Push(operation == 2 ? (stack.Pop() * stack.Pop()) + 1 : operation);
        }

        return (stack.Peek() * 100) + (ulong)stack.Count;
    }

    private static ulong Search(byte[] m)
    {
        int low = 0;
        for (int high = m.Length; low < high;)
        {
            int middle = (low + high) / 2;
            (low, high) = m[middle] < 5 ? (middle + 1, high) : (low, middle);
        }

        return (ulong)low;
    }

    private static ulong Records(byte[] m)
    {
        ulong sum = 0;
        for (int i = 0; i + 2 <= m.Length; i += 2 + m[i + 1])
        {
            if (i + 2 + m[i + 1] > m.Length)
            {
                return sum | (1UL << 40);
            }

            sum += (m[i] & 1) != 0 ? m[i + 1] : 0UL;
        }

        return sum;
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void What_clang_compiles_runs(string name)
    {
        string clang = Requires.Program("clang");
        using TempFolder folder = new();
        byte[] memory = [7, 1, 9, 2, 0, 0, 3, 2, 5, 6, 1, 0, 0x80, 0xff, 4, 1, 8, 3, 1, 2, 3, 0, 0, 9];
        foreach (string[] options in Options(clang, folder))
        {
            string hex = Convert.ToHexString(Compile(clang, folder, Head + Programs[name].Code, options));
            string expected = $"{Programs[name].Expected([.. memory]):x}\n";
            Assert.Equal(expected, ExoProcess.ExoReading(hex, "udf", "run", "--compiled", Convert.ToHexString(memory)).Succeeded().Output);
            Assert.Equal(expected, ExoProcess.ExoReading(hex, "udf", "run", "--interpreted", Convert.ToHexString(memory)).Succeeded().Output);
        }
    }

    /// <summary>The plain machine, and the newest one this clang knows.</summary>
    private static IEnumerable<string[]> Options(string clang, TempFolder folder)
    {
        File.WriteAllText(folder["empty.c"], "");
        string newest = TryClang(clang, ["-target", "bpf", "-mcpu=v4", "-c", folder["empty.c"], "-o", folder["empty.o"]], out _) ? "v4" : "v3";
        return [["-O2"], ["-O2", $"-mcpu={newest}"]];
    }

    private static byte[] Compile(string clang, TempFolder folder, string code, string[] options)
    {
        File.WriteAllText(folder["program.c"], code);
        bool isCompiled = TryClang(
            clang, ["-target", "bpf", .. options, "-fno-unroll-loops", "-c", folder["program.c"], "-o", folder["program.o"]], out string said);
        Assert.True(isCompiled, said);
        return TextSection(File.ReadAllBytes(folder["program.o"]));
    }

    private static bool TryClang(string clang, string[] args, out string said)
    {
        using Process process = Process.Start(new ProcessStartInfo(clang, args) { RedirectStandardError = true })!;
        said = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0;
    }

    /// <summary>The section <c>.text</c> of a 64-bit little-endian ELF file, which must have no relocations.</summary>
    private static byte[] TextSection(ReadOnlySpan<byte> elf)
    {
        ulong table = BinaryPrimitives.ReadUInt64LittleEndian(elf[0x28..]);
        int entryBytes = BinaryPrimitives.ReadUInt16LittleEndian(elf[0x3a..]);
        int count = BinaryPrimitives.ReadUInt16LittleEndian(elf[0x3c..]);
        int namesIndex = BinaryPrimitives.ReadUInt16LittleEndian(elf[0x3e..]);
        ReadOnlySpan<byte> names = Section(elf, table, entryBytes, namesIndex, out _);
        byte[]? text = null;
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> bytes = Section(elf, table, entryBytes, i, out int nameOffset);
            ReadOnlySpan<byte> name = names[nameOffset..];
            name = name[..name.IndexOf((byte)0)];
            Assert.False(name.SequenceEqual(".rel.text"u8), "the program has relocations");
            if (name.SequenceEqual(".text"u8))
            {
                text = bytes.ToArray();
            }
        }

        Assert.NotNull(text);
        return text;
    }

    private static ReadOnlySpan<byte> Section(ReadOnlySpan<byte> elf, ulong table, int entryBytes, int index, out int nameOffset)
    {
        ReadOnlySpan<byte> header = elf.Slice((int)table + (index * entryBytes), entryBytes);
        nameOffset = BinaryPrimitives.ReadInt32LittleEndian(header);
        int kind = BinaryPrimitives.ReadInt32LittleEndian(header[4..]);
        int offset = (int)BinaryPrimitives.ReadUInt64LittleEndian(header[0x18..]);
        int lengthBytes = (int)BinaryPrimitives.ReadUInt64LittleEndian(header[0x20..]);
        const int withoutBytes = 8;
        return kind is 0 or withoutBytes ? default : elf.Slice(offset, lengthBytes);
    }
}
