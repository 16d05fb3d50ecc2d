// SPDX-License-Identifier: MIT
using System.Text;
using CsCheck;
using Exo.Net.Cheetah.Pages;

namespace Exo.Net.Cheetah.Tests.Documents.Pages;

/// <summary>What pages and style sheets include, as they are written and as nobody would write them.</summary>
public sealed class PageIncludesTests
{
    private static string[] Of(string html, string path = "/a/page.html") =>
        [.. new PageIncludes(Encoding.UTF8.GetBytes(path), Encoding.UTF8.GetBytes(html)).Paths.Select(Encoding.UTF8.GetString)];

    private static string[] OfStyleSheet(string css, string path = "/css/main.css")
    {
        PageIncludes includes = new("/page.html"u8, default);
        includes.AddStyleSheet(Encoding.UTF8.GetBytes(path), Encoding.UTF8.GetBytes(css));
        return [.. includes.Paths.Select(Encoding.UTF8.GetString)];
    }

    private static Gen<T> Among<T>(params T[] items) => Gen.Int[0, items.Length - 1].Select(i => items[i]);

    [Theory]
    [InlineData("<img src=x.png>", "/a/x.png")]
    [InlineData("<IMG alt='a>b' SRC = \"x.png\" >", "/a/x.png")]
    [InlineData("<img src='x.png'/>", "/a/x.png")]
    [InlineData("<img/src=x.png>", "/a/x.png")]
    [InlineData("<img src=x.png src=y.png>", "/a/x.png")]
    [InlineData("<img =src=1 src=x.png>", "/a/x.png")]
    [InlineData("<img src srcset=x.png>", "/a/x.png")]
    [InlineData("<img srcset='x.png 1x, y.png 2x,z.png'>", "/a/x.png /a/y.png /a/z.png")]
    [InlineData("<img srcset=',x.png, y.png 2x'>", "/a/x.png /a/y.png")]
    [InlineData("<picture><source srcset=x.avif><img src=x.png></picture>", "/a/x.avif /a/x.png")]
    [InlineData("<script src=/js/x.js></script>", "/js/x.js")]
    [InlineData("<script>\"<img src=no.png>\"</script><img src=x.png>", "/a/x.png")]
    [InlineData("<script></scripty><img src=no.png></SCRIPT ><img src=x.png>", "/a/x.png")]
    [InlineData("<textarea><img src=no.png></textarea><title><img src=no.png></title>", "")]
    [InlineData("<plaintext><img src=no.png></plaintext>", "")]
    [InlineData("<link rel=stylesheet href=x.css>", "/a/x.css")]
    [InlineData("<link rel='shortcut icon' href=x.ico>", "/a/x.ico")]
    [InlineData("<link rel=preload as=font href=x.woff2><link rel=modulepreload href=x.mjs>", "/a/x.woff2 /a/x.mjs")]
    [InlineData("<link rel='alternate stylesheet' href=no.css><link rel=next href=no.html><link href=no.css>", "")]
    [InlineData("<video src=no.mp4 poster=x.jpg></video>", "/a/x.jpg")]
    [InlineData("<input type=image src=x.png>", "/a/x.png")]
    [InlineData("<style>@import 'x.css'; b { background: url(y.png) }</style>", "/a/x.css /a/y.png")]
    [InlineData("<p style='background:url(x.png)'>", "/a/x.png")]
    [InlineData("<a href=no.html><p src=no.png>", "")]
    [InlineData("<!-- <img src=no.png> --><img src=x.png>", "/a/x.png")]
    [InlineData("<!--><img src=x.png>", "/a/x.png")]
    [InlineData("<!---><img src=x.png>", "/a/x.png")]
    [InlineData("<!-- --!><img src=x.png>", "/a/x.png")]
    [InlineData("<!-- - -- > <img src=no.png>", "")]
    [InlineData("<!doctype html><?xml <img src=no.png> ?></ <img src=no.png>></p title='<img src=no.png>'>", "")]
    [InlineData("< img src=no.png> 1 < 2 <<img src=x.png>", "/a/x.png")]
    [InlineData("<img src=x.png> <img src=no.png", "/a/x.png")]
    [InlineData("<img src='no.png><img src=no.png>", "")]
    [InlineData("<img src=x.png><img src=./x.png><img src=/a/x.png?1><img src='x.png#2'>", "/a/x.png")]
    public void Html(string html, string expected) => Assert.Equal(expected.Split(' ', StringSplitOptions.RemoveEmptyEntries), Of(html));

    [Theory]
    [InlineData("x.png", "/a/x.png")]
    [InlineData("../x.png", "/x.png")]
    [InlineData("../../x.png", null)]
    [InlineData("/b/../x.png", "/x.png")]
    [InlineData("  x.png\n", "/a/x.png")]
    [InlineData("a%20b%C3%A4.png", "/a/a bä.png")]
    [InlineData("ä.png", "/a/ä.png")]
    [InlineData("a%2Fb.png", null)]
    [InlineData("a%zz", null)]
    [InlineData("a%00", null)]
    [InlineData("x.png?a=/../b#c", "/a/x.png")]
    [InlineData("#top", null)]
    [InlineData("?a", null)]
    [InlineData("page.html", null)]
    [InlineData(".", null)]
    [InlineData("folder/", null)]
    [InlineData("//elsewhere/x.png", null)]
    [InlineData("http://elsewhere/x.png", null)]
    [InlineData("data:image/png;base64,AAAA", null)]
    [InlineData("a/b:c.png", "/a/a/b:c.png")]
    [InlineData("a\\b.png", null)]
    [InlineData("\\\\elsewhere\\x", null)]
    public void References(string reference, string? expected) => Assert.Equal(expected is null ? [] : [expected], Of($"<img src=\"{reference}\">"));

    [Theory]
    [InlineData("<base href=/b/><img src=x.png><img src=/x.png>", "/b/x.png /x.png")]
    [InlineData("<base href='b/c.html'><img src=x.png>", "/a/b/x.png")]
    [InlineData("<base href=/b/><base href=/c/><img src=x.png>", "/b/x.png")]
    [InlineData("<base target=_top><base href=..><img src=x.png>", "/x.png")]
    [InlineData("<base href=https://elsewhere/><img src=no.png><img src=/no.png>", "")]
    public void Bases(string html, string expected) => Assert.Equal(expected.Split(' ', StringSplitOptions.RemoveEmptyEntries), Of(html));

    [Fact]
    public void A_base_whose_name_needs_escapes_is_one() => Assert.Equal(["/100%/ä b/x.png"], Of("<img src=x.png>", "/100%/ä b/page.html"));

    [Theory]
    [InlineData("@import \"x.css\";", "/css/x.css")]
    [InlineData("@IMPORT url(x.css) print;", "/css/x.css")]
    [InlineData("@import/**/'x.css'", "/css/x.css")]
    [InlineData("@important 'no.css'", "")]
    [InlineData("a { background: URL( '../x.png' ) }", "/x.png")]
    [InlineData("a { background: url(  x.png  ), url(\"y.png\") }", "/css/x.png /css/y.png")]
    [InlineData("@font-face { src: local('no'), url(x.woff2) format('woff2') }", "/css/x.woff2")]
    [InlineData("/* url(no.png) */ a { content: 'url(no.png)' } b { background: url(x.png) }", "/css/x.png")]
    [InlineData("a { content: 'it\\'s url(no.png)' }", "")]
    [InlineData("a { content: 'not closed\n} b { background: url(x.png) }", "/css/x.png")]
    [InlineData("a { background: curl(no.png) no-url(no.png) }", "")]
    [InlineData("a { background: url(data:image/png;base64,AAAA) url(#filter) url() }", "")]
    [InlineData("a { background: url(no.png", "")]
    [InlineData("/* not closed url(no.png)", "")]
    [InlineData("@import", "")]
    [InlineData("url('", "")]
    [InlineData("\\", "")]
    public void StyleSheets(string css, string expected) => Assert.Equal(expected.Split(' ', StringSplitOptions.RemoveEmptyEntries), OfStyleSheet(css));

    [Fact]
    public void What_a_page_is_made_of_is_found_in_order_whatever_stands_between()
    {
        Gen<string> name = Gen.String[Gen.Char["abcXYZ019-_.~"], 1, 12].Where(text => text.Trim('.').Length > 0);
        Gen<string> noise = Among(
            "text", "<p class='a b'>", "</p>", "<!-- <img src=comment> -->", "<script>if (a < b) \"<img src=script>\"</script>", "<br/>", "<a href=link>", "<img alt='>'>", " & ", "<", "<3",
            "<textarea><link rel=stylesheet href=text></textarea>", "<img src=https://elsewhere/x>", "<div data-src=lazy>", "<link rel=canonical href=canon>", "\0", "ÿ");
        Gen<Func<string, string>> element = Among<Func<string, string>>(
            static path => $"<img src={path}>", static path => $"<IMG\n  width=1 SRC='{path}' >", static path => $"<script defer src=\"{path}\"></script>", static path => $"<link href={path} rel=stylesheet>",
            static path => $"<img srcset='{path} 2x'>", static path => $"<style>b{{background:url( {path} )}}</style>", static path => $"<video poster={path}></video>", static path => $"<i style=\"b:url('{path}')\">");
        Gen.Select(name, element, noise).Array[0, 40].Sample(parts =>
        {
            string html = string.Concat(parts.Select(part => part.Item3 + part.Item2(part.Item1)));
            Assert.Equal(parts.Select(part => $"/a/{part.Item1}").Distinct(), Of(html));
        });
    }

    [Fact]
    public void Whatever_the_bytes_are_paths_are_documents_beneath_the_root_and_few()
    {
        string[] pieces = ["<", ">", "'", "\"", "=", "/", "img", " src", "srcset", "<style>", "</style", "<!--", "--", "url(", ")", "@import", "../", "%2e%2e/", "%", "<base href=", "\\", ",", "\0", "é", "<script", "a", " "];
        Gen<string> hostile = Among(pieces).Array[0, 200].Select(string.Concat);
        Gen.Select(hostile, hostile, Gen.Byte.Array[0, 200]).Sample((html, css, bytes) =>
        {
            PageIncludes includes = new("/a/page.html"u8, [.. Encoding.UTF8.GetBytes(html), .. bytes]);
            includes.AddStyleSheet("/a/b.css"u8, [.. bytes, .. Encoding.UTF8.GetBytes(css)]);
            Assert.InRange(includes.Paths.Count, 0, PageIncludes.Most);
            Assert.Distinct(includes.Paths.Select(Convert.ToHexString));
            foreach (byte[] path in includes.Paths)
            {
                Assert.InRange(path.Length, 2, DocumentReference.PathBytesMax);
                Assert.Equal((byte)'/', path[0]);
                Assert.DoesNotContain(Encoding.Latin1.GetString(path).Split('/').Skip(1), segment => segment is "" or "." or ".." || segment.Contains('\0', StringComparison.Ordinal));
            }
        });
    }

    [Fact]
    public void There_is_an_end_to_what_one_page_includes()
    {
        Assert.Equal(PageIncludes.Most, Of(string.Concat(Enumerable.Range(0, 10_000).Select(i => $"<img src={i}>"))).Length);
        Assert.Empty(Of(string.Concat(Enumerable.Repeat("<img src=../../no>", 10_000)) + "<img src=late.png>"));
        Assert.Empty(Of(new string(' ', PageIncludes.ScannedBytesMax) + "<img src=late.png>"));
        Assert.Empty(Of($"<img src={new string('a', 2 * DocumentReference.PathBytesMax)}>"));
    }
}
