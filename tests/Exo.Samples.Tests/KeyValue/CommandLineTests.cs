// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS;
using Exo.Tests;

namespace Exo.Samples.Tests.KeyValue;

/// <summary>The program, run as a user runs it.</summary>
public sealed class CommandLineTests : IDisposable
{
    private readonly string _image = Path.Combine(Path.GetTempPath(), $"exo-keyvalue-{Guid.NewGuid():N}.img");

    public void Dispose() => File.Delete(_image);

    [Fact]
    public void It_keeps_values_beside_a_file_system()
    {
        Assert.Equal((0, ""), Run("put", _image, "colour", "blue", "--size", "16M"));
        Assert.Equal((0, ""), Run("put", _image, "apple", "red"));
        using (CffsVolume files = CffsVolume.Open(_image))
        {
            files.WriteAllBytes("/hello.txt", "hello"u8.ToArray());
        }

        Assert.Equal((0, "blue\n"), Run("get", _image, "colour"));
        Assert.Equal((0, "apple\tred\ncolour\tblue\n"), Run("scan", _image));
        Assert.Equal((0, "colour\tblue\n"), Run("scan", _image, "--from", "b", "--to", "d"));
        Assert.Equal((0, ""), Run("delete", _image, "apple"));
        Assert.Equal((1, ""), Run("get", _image, "apple"));
        using CffsVolume again = CffsVolume.Open(_image);
        Assert.Equal("hello"u8.ToArray(), again.ReadAllBytes("/hello.txt"));
    }

    [Fact]
    public void Mistakes_are_told_on_one_line()
    {
        Assert.Equal(2, Run("put", _image, "", "x").Status);
        Assert.Equal(2, Run("get", _image).Status);
        Assert.Equal(2, Run("put", _image, "x", "y", "--size", "many").Status);
        File.WriteAllBytes(_image, new byte[8 << 20]);
        ExoResult result = ExoProcess.Run("keyvalue.dll", "get", _image, "x");
        Assert.Equal(3, result.ExitCode);
        Assert.Single(result.Error.TrimEnd().Split('\n'));
    }

    [Fact]
    public void Who_only_reads_makes_nothing()
    {
        foreach (string[] command in (string[][])[["get", _image, "x"], ["scan", _image], ["delete", _image, "x"]])
        {
            Assert.Equal(3, Run(command).Status);
            Assert.False(File.Exists(_image));
        }

        using (CffsVolume files = CffsVolume.Create(_image, new CffsCreateOptions { SizeBytes = 16 << 20 }))
        {
            files.WriteAllBytes("/hello.txt", "hello"u8.ToArray());
        }

        ExoResult result = ExoProcess.Run("keyvalue.dll", "get", _image, "x");
        Assert.Equal((3, $"keyvalue: {_image}: no key-value store on it"), (result.ExitCode, result.Error.Trim()));
    }

    private static (int Status, string Output) Run(params string[] args)
    {
        ExoResult result = ExoProcess.Run("keyvalue.dll", args);
        return (result.ExitCode, result.Output);
    }
}
