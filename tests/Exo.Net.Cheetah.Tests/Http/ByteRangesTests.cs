// SPDX-License-Identifier: MIT
using System.Text;
using CsCheck;
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah.Tests.Http;

public class ByteRangesTests
{
    private static string Parse(string value, long documentBytes)
    {
        Span<ByteRange> ranges = stackalloc ByteRange[ByteRanges.CountMax];
        RangeOutcome outcome = ByteRanges.Parse(Encoding.ASCII.GetBytes(value), documentBytes, ranges, out int count);
        return outcome != RangeOutcome.Partial ? outcome.ToString()
            : string.Join(' ', ranges[..count].ToArray().Select(r => $"{r.OffsetBytes}+{r.LengthBytes}"));
    }

    [Theory]
    [InlineData("bytes=0-0", "0+1")]
    [InlineData("bytes=0-99", "0+10")]
    [InlineData("bytes=9-", "9+1")]
    [InlineData("bytes=-1", "9+1")]
    [InlineData("bytes=-100", "0+10")]
    [InlineData("BYTES=2-3", "2+2")]
    [InlineData("bytes=0-1, 4-5 ,-1", "0+2 4+2 9+1")]
    [InlineData("bytes=5-6,0-1", "5+2 0+2")]
    [InlineData("bytes=50-60,0-1", "0+2")]
    [InlineData("bytes=10-", "Unsatisfiable")]
    [InlineData("bytes=-0", "Unsatisfiable")]
    [InlineData("bytes=99999999999999999999999-", "Unsatisfiable")]
    [InlineData("bytes=0-99999999999999999999999", "0+10")]
    [InlineData("bytes=0000000000000000000000001-1", "1+1")]
    [InlineData("bytes=3-2", "Whole")]
    [InlineData("bytes=-", "Whole")]
    [InlineData("bytes=", "Whole")]
    [InlineData("bytes", "Whole")]
    [InlineData("bytes=a-b", "Whole")]
    [InlineData("bytes=1", "Whole")]
    [InlineData("bytes=--1", "Whole")]
    [InlineData("bytes=+1-2", "Whole")]
    [InlineData("bytes=1 - 2", "Whole")]
    [InlineData("lines=0-1", "Whole")]
    [InlineData("bytes=0-,0-", "Whole")]
    [InlineData("bytes=0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0", "Whole")]
    public void Ranges_of_ten_bytes_are_read(string value, string expected) => Assert.Equal(expected, Parse(value, 10));

    [Fact]
    public void More_ranges_than_the_limit_get_the_whole() => Assert.Equal("Whole", Parse("bytes=" + string.Join(',', Enumerable.Range(0, 17).Select(i => $"{i}-{i}")), 1000));

    private static readonly Gen<(long? First, long? Last)> Spec =
        Gen.Select(Gen.Long[0, 40].Nullable(), Gen.Long[0, 40].Nullable()).Where(s => s.Item1 is not null || s.Item2 is not null);

    [Fact]
    public void Well_formed_lists_pick_the_bytes_a_naive_model_picks() =>
        Gen.Select(Spec.Array[1, 5], Gen.Int[0, 30]).Sample((specs, documentBytes) =>
        {
            string value = "bytes=" + string.Join(',', specs.Select(s => $"{s.First}-{s.Last}"));
            var pieces = new List<List<int>>();
            bool malformed = false, emptySuffix = false;
            foreach ((long? first, long? last) in specs)
            {
                malformed |= first is not null && last is not null && last < first;
                emptySuffix |= first is null && last > 0 && documentBytes == 0;
                IEnumerable<int> all = Enumerable.Range(0, documentBytes);
                pieces.Add([.. first is null ? all.Where(i => i >= documentBytes - last) : all.Where(i => i >= first && (last is null || i <= last))]);
            }

            pieces.RemoveAll(p => p.Count == 0);
            string expected = malformed || emptySuffix ? "Whole"
                : pieces.Count == 0 ? "Unsatisfiable"
                : pieces.Sum(p => p.Count) > documentBytes ? "Whole"
                : string.Join(' ', pieces.Select(p => $"{p[0]}+{p.Count}"));
            Assert.Equal(expected, Parse(value, documentBytes));
        }, iter: 20_000);

    [Fact]
    public void Any_bytes_are_survived() => Gen.Byte.Array[0, 60].Sample(bytes =>
    {
        Span<ByteRange> ranges = stackalloc ByteRange[ByteRanges.CountMax];
        RangeOutcome outcome = ByteRanges.Parse([.. "bytes="u8, .. bytes], 100, ranges, out int count);
        Assert.Equal(outcome == RangeOutcome.Partial, count > 0 && outcome != RangeOutcome.Whole);
    });
}
