# Completion of wiretape for PowerShell: wiretape completion powershell | Out-String | Invoke-Expression

Register-ArgumentCompleter -Native -CommandName wiretape -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @()
    foreach ($element in $commandAst.CommandElements) {
        if ($element.Extent.StartOffset -ge $cursorPosition) { break }
        $words += if ($element -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $element.Value } else { $element.Extent.Text }
    }
    $program = $words[0]
    $words = @($words | Select-Object -Skip 1)
    if ($wordToComplete -eq '') { $words += '' } elseif ($words.Count -gt 0) { $words[-1] = $wordToComplete }
    # Windows PowerShell drops empty arguments of programs unless they are quoted.
    if ($PSVersionTable.PSVersion -lt [version]'7.3') { $words = @($words | ForEach-Object { if ($_ -eq '') { '""' } else { $_ } }) }
    $out = @(& $program __complete @words 2>$null)
    if ($out.Count -eq 0) { return }
    $directive = [int]$out[-1].Substring(1)
    $before = ''
    if ($wordToComplete -match '^(-[^=]*=)') { $before = $Matches[1] }
    $found = @($out | Select-Object -SkipLast 1)
    foreach ($line in $found) {
        $value, $about = $line -split "`t", 2
        if (-not $about) { $about = $value }
        $text = $before + $value
        if ($text -match '[\s''"`$;&|(){}]') { $text = "'" + $text.Replace("'", "''") + "'" }
        [System.Management.Automation.CompletionResult]::new($text, $value, 'ParameterValue', $about)
    }
    if ($found.Count -eq 0 -and -not ($directive -band 4)) {
        [System.Management.Automation.CompletionCompleters]::CompleteFilename($wordToComplete.Substring($before.Length))
    }
}
