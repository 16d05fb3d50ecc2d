// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Logging;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tests.Logging;

/// <summary>From threads that record to lines.</summary>
public class AccessRingTests
{
    private const int RingBytes = 1 << 16, HeadBytesMax = 16384;

    private static AccessLog Log(LogOutput output, AccessLogOverflow whenFull, TimeSpan? interval = null) => new(
        new AccessLogOptions { Output = output, Format = AccessLogFormat.Combined, WhenFull = whenFull, RingBytes = RingBytes, FlushInterval = interval ?? TimeSpan.Zero },
        HeadBytesMax, TimeProvider.System);

    // The number is in every part, so that a record that is torn or mixed with another is seen.
    private static void Record(AccessRing ring, int number, int paddingBytes)
    {
        string text = number.ToString(CultureInfo.InvariantCulture);
        byte[] padded = Encoding.ASCII.GetBytes(text + ' ' + new string((char)('a' + (number % 26)), paddingBytes));
        ring.Write(0, InternetAddress.FromV4((uint)number), new ResponseOutcome(200, number + 1L), padded, true, Encoding.ASCII.GetBytes(text), number % 2 == 0, number % 2 == 0 ? padded : default);
    }

    private static int Number(string line)
    {
        string[] parts = line.Split('"');
        string[] request = parts[1].Split(' ');
        int number = int.Parse(request[0], CultureInfo.InvariantCulture);
        Assert.StartsWith(InternetAddress.FromV4((uint)number) + " - - ", line, StringComparison.Ordinal);
        Assert.Equal(new string((char)('a' + (number % 26)), request[1].Length), request[1]);
        Assert.Equal([$" 200 {number + 1} ", request[0], " ", number % 2 == 0 ? parts[1] : "-", ""], parts[2..]);
        return number;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Every_record_that_is_not_counted_as_dropped_is_a_line_in_order(bool waits)
    {
        const int Count = 60_000;
        var output = new LogOutput();
        await using AccessLog log = Log(output, waits ? AccessLogOverflow.Wait : AccessLogOverflow.Drop);
        AccessRing[] rings = [log.AddRing(), log.AddRing()];
        await Task.WhenAll(rings.Select((ring, index) => Task.Factory.StartNew(
            () =>
            {
                var random = new Random(index);
                for (int i = 0; i < Count; i++)
                {
                    Record(ring, (2 * i) + index, random.Next(100) == 0 ? random.Next(8000) : random.Next(200));
                }
            },
            TaskCreationOptions.LongRunning)));
        int[] numbers = [.. (await output.LinesAsync(log)).Select(Number)];
        for (int index = 0; index < rings.Length; index++)
        {
            int[] own = [.. numbers.Where(number => number % 2 == index)];
            Assert.Equal(own.Order(), own);
            Assert.Equal(Count, own.Length + rings[index].DroppedCount);
            Assert.True(!waits || own.Length == Count);
        }

        Assert.Equal(numbers.Length, log.WrittenCount);
        Assert.Equal(numbers.Length, numbers.Distinct().Count());
    }

    [Fact]
    public async Task A_full_ring_drops_what_comes_and_takes_what_comes_later()
    {
        var output = new LogOutput();
        await using AccessLog log = Log(output, AccessLogOverflow.Drop);
        AccessRing ring = log.AddRing();
        output.HoldUp();
        Record(ring, 0, 10);
        Assert.True(SpinWait.SpinUntil(() => output.Writes == 1, 20_000));
        int next = 1;
        for (; ring.DroppedCount == 0; next++)
        {
            Record(ring, next, 1000);
        }

        Assert.InRange(next, 30, 65);
        output.LetGo();
        string[] lines = await output.LinesAsync(log);
        Assert.Equal(Enumerable.Range(0, next - 1), lines.Select(Number));
        Record(ring, next, 10);
        Assert.Equal(next, Number((await output.LinesAsync(log))[^1]));
        Assert.Equal((1, next), (log.DroppedCount, log.WrittenCount));
    }

    [Fact]
    public async Task The_longest_record_fits_wherever_the_last_one_ended()
    {
        var output = new LogOutput();
        await using AccessLog log = Log(output, AccessLogOverflow.Drop);
        AccessRing ring = log.AddRing();
        for (int i = 0; i < 50; i++)
        {
            Record(ring, 2 * i, (RingBytes / 4) - 64 - (i * 8));
            await log.FlushAsync();
        }

        Assert.Equal((0, 50), (log.DroppedCount, log.WrittenCount));
    }

    [Fact]
    public async Task Lines_are_written_together_and_none_waits_for_ever()
    {
        var output = new LogOutput();
        await using AccessLog log = Log(output, AccessLogOverflow.Drop, TimeSpan.FromMilliseconds(50));
        AccessRing ring = log.AddRing();
        for (int i = 0; i < 100; i++)
        {
            Record(ring, i, 10);
        }

        Assert.True(SpinWait.SpinUntil(() => output.Text.Split('\n').Length == 101, 20_000));   // nobody has asked for it
        Assert.InRange(output.Writes, 1, 50);
    }

    [Fact]
    public async Task A_ring_that_is_half_full_is_not_waited_for()
    {
        var output = new LogOutput();
        await using AccessLog log = Log(output, AccessLogOverflow.Wait, TimeSpan.FromMinutes(1));
        AccessRing ring = log.AddRing();
        for (int i = 0; i < 3000; i++)
        {
            Record(ring, i, 1000);   // thirty rings full
        }

        Assert.Equal(0, log.DroppedCount);
    }

    [Fact]
    public async Task An_output_that_fails_loses_its_lines_and_nothing_else()
    {
        var output = new LogOutput();
        await using AccessLog log = Log(output, AccessLogOverflow.Drop);
        AccessRing ring = log.AddRing();
        Record(ring, 0, 10);
        await log.FlushAsync();
        output.Fail(1);
        Record(ring, 1, 10);
        await log.FlushAsync();
        Record(ring, 2, 10);
        string[] lines = await output.LinesAsync(log);
        Assert.Equal(3, lines.Length);   // the second is torn, and the third a line of its own
        Assert.Equal([0, 2], new[] { lines[0], lines[2] }.Select(Number));
        Assert.Equal((1, 2), (log.DroppedCount, log.WrittenCount));
    }

    [Fact]
    public async Task A_file_that_was_renamed_is_left_for_a_new_one_and_truncated_ones_begin_anew()
    {
        string folder = Directory.CreateTempSubdirectory("cheetah-log").FullName;
        string path = Path.Combine(folder, "access.log"), old = path + ".1";
        try
        {
            File.WriteAllText(path, "before\n");
            var log = new AccessLog(new AccessLogOptions { Path = path }, HeadBytesMax, TimeProvider.System);
            AccessRing ring = log.AddRing();
            Record(ring, 1, 1);
            await log.FlushAsync();
            File.Move(path, old);
            Record(ring, 2, 1);
            await log.ReopenAsync();
            Record(ring, 3, 1);
            await log.FlushAsync();
            Assert.Equal(["before", "1", "2"], File.ReadAllLines(old).Select(line => line.Split('"') is [_, var text, ..] ? text.Split(' ')[0] : line));
            Assert.Equal([3], File.ReadAllLines(path).Select(Number));

            File.WriteAllText(path, "");   // as copytruncate does
            Record(ring, 4, 1);
            await log.FlushAsync();
            Assert.Equal([4], File.ReadAllLines(path).Select(Number));

            File.Move(path, old, overwrite: true);
            Directory.CreateDirectory(path);
            IOException failure = await Assert.ThrowsAsync<IOException>(log.ReopenAsync);
            Assert.Contains(path, failure.Message, StringComparison.Ordinal);
            Record(ring, 5, 1);
            await log.DisposeAsync();
            Assert.Equal([4, 5], File.ReadAllLines(old).Select(Number));
            await log.ReopenAsync();   // it has ended: nothing is in use
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
