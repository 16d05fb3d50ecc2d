// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;

namespace Exo.Tests;

/// <summary>
/// Compares text with a <c>*.verified.txt</c> file beside the test: the file convention of the Verify library, so that it
/// can be swapped in. On a difference the new text is written to <c>*.received.txt</c>; accept it by renaming the file.
/// </summary>
internal static class Snapshot
{
    public static void Verify(string actual, [CallerFilePath] string testFile = "", [CallerMemberName] string testName = "")
    {
        string stem = Path.Combine(Path.GetDirectoryName(testFile)!, $"{Path.GetFileNameWithoutExtension(testFile)}.{testName}");
        string verifiedPath = stem + ".verified.txt";
        string receivedPath = stem + ".received.txt";
        actual = actual.ReplaceLineEndings("\n").TrimEnd() + "\n";
        string verified = File.Exists(verifiedPath) ? File.ReadAllText(verifiedPath).ReplaceLineEndings("\n") : "";
        if (actual == verified)
        {
            File.Delete(receivedPath);
            return;
        }

        File.WriteAllText(receivedPath, actual);
        Assert.Fail($"Text differs from {Path.GetFileName(verifiedPath)}; see {Path.GetFileName(receivedPath)}.\n{actual}");
    }
}
