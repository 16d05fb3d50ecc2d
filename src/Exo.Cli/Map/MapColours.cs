// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Map;

/// <summary>Colours of cells, 0xRRGGBB: a kind has its own, contents of files that of their directory.</summary>
internal static class MapColours
{
    public static int Of(in MapCell cell) => cell.Directory >= 0 ? OfDirectory(cell.Directory) : BlockKinds.All[BlockKinds.Rank(cell.Kind)].Rgb;

    /// <summary>Hues by the golden angle, so that those of the first directories, however many, are far apart; lightness in turn, so that neighbours differ for everybody's eyes.</summary>
    public static int OfDirectory(int place)
    {
        double hue = (210 + (place * 137.508)) % 360;
        double lightness = (place % 3) switch { 0 => 0.56, 1 => 0.70, _ => 0.42 };
        return FromHsl(hue, 0.62, lightness);
    }

    private static int FromHsl(double hue, double saturation, double lightness)
    {
        double chroma = saturation * Math.Min(lightness, 1 - lightness);
        int Channel(double offset)
        {
            double at = (offset + (hue / 30)) % 12;
            return (int)Math.Round(255 * (lightness - (chroma * Math.Max(-1, Math.Min(Math.Min(at - 3, 9 - at), 1)))));
        }

        return (Channel(0) << 16) | (Channel(8) << 8) | Channel(4);
    }
}
