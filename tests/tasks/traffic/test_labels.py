from pathlib import Path

import pytest

from snnexp.data.base import DataError
from tasks.traffic.labels import CLASSES, TABLE, LabelTable
from tasks.traffic.sample import plans

# names as published (UNB's archives), and FlowPic's folders
KNOWN = {
    "NonVPN-PCAPs-01/youtube1.pcap": "Video_nonVPN",
    "NonVPN-PCAPs-01/facebook_video1a.pcap": "Video_nonVPN",
    "NonVPN-PCAPs-02/netflix4.pcap": "Video_nonVPN",
    "NonVPN-PCAPs-02/voipbuster_4b.pcap": "VOIP_nonVPN",
    "NonVPN-PCAPs-02/hangouts_audio1a.pcap": "VOIP_nonVPN",
    "NonVPN-PCAPs-03/sftpDown1.pcap": "FileTransfer_nonVPN",
    "NonVPN-PCAPs-03/skype_file5.pcap": "FileTransfer_nonVPN",
    "NonVPN-PCAPs-03/scpUp1.pcap": "FileTransfer_nonVPN",
    "NonVPN-PCAPs-01/gmailchat1.pcap": "Chat_nonVPN",
    "NonVPN-PCAPs-01/AIMchat1.pcapng": "Chat_nonVPN",
    "NonVPN-PCAPs-01/email1a.pcap": "ignore",
    "NonVPN-PCAPs-03/Torrent01.pcapng": "ignore",
    "NonVPN-PCAPs-03/spotify1.pcapng": "ignore",
    "NonVPN-PCAPs-03/torFacebook.pcap": "Browsing_Tor",
    "NonVPN-PCAPs-03/torVimeo1.pcap": "Video_Tor",
    "VPN-PCAPS-01/vpn_skype_audio1.pcap": "VOIP_VPN",
    "VPN-PCAPs-02/vpn_youtube_A.pcap": "Video_VPN",
    "VPN-PCAPs-02/vpn_ftps_A.pcap": "FileTransfer_VPN",
    "VPN-PCAPS-01/vpn_bittorrent.pcap": "ignore",
    "vpn_aim_chat1a.pcap": "Chat_VPN",
    "Tor/CHAT_aimchatgateway.pcap": "Chat_Tor",
    "CHAT_gate_hangout_chat.pcap": "Chat_Tor",
    "Tor/FILE-TRANSFER_gate_SFTP_filetransfer.pcap": "FileTransfer_Tor",
    "FILE-TRANSFER_tor_skype_transfer.pcap": "FileTransfer_Tor",
    "Tor/VIDEO_Youtube_Flash_Gateway.pcap": "Video_Tor",
    "Tor/VOIP_Hangouts_voice_Gateway.pcap": "VOIP_Tor",
    "Tor/BROWSING_tor_browsing_ara.pcap": "Browsing_Tor",
    "Tor/AUDIO_spotifygateway.pcap": "ignore",
    "Tor/MAIL_gate_Email_IMAP_filetransfer.pcap": "ignore",
    "Tor/P2P_tor_p2p_vuze.pcap": "ignore",
    "NonTor/browsing_ara.pcap": "Browsing_nonVPN",
    "NonTor/SSL_Browsing.pcap": "Browsing_nonVPN",
    "NonTor/Skype_Voice_Workstation.pcap": "VOIP_nonVPN",
    "NonTor/Vimeo_Workstation.pcap": "Video_nonVPN",
    "NonTor/FTP_filetransfer.pcap": "FileTransfer_nonVPN",
    "NonTor/POP_filetransfer.pcap": "ignore",
    "NonTor/Workstation_Thunderbird_Imap.pcap": "ignore",
    "Video/Tor/x_video.csv": "Video_Tor",
    "VOIP/nonVPN/1.csv": "VOIP_nonVPN",
    "FileTransfer/VPN/a.csv": "FileTransfer_VPN",
    "Browsing/VPN/a.csv": "ignore",
    "CICNTTor_chat_tor.raw.csv": "Chat_Tor",
}


@pytest.mark.parametrize(("path", "name"), KNOWN.items())
def test_published_names(path, name):
    assert LabelTable(TABLE).label(Path(path)) == name


def test_classes_are_in_the_authors_order():
    assert len(CLASSES) == 14
    assert CLASSES[:4] == ("Video_nonVPN", "Video_Tor", "Video_VPN", "VOIP_nonVPN")
    assert CLASSES[-2:] == ("Browsing_nonVPN", "Browsing_Tor")


def test_the_samples_names():
    table = LabelTable(TABLE)
    for plan in plans(12):
        assert table.label(Path(plan.path)) == f"{plan.category}_{plan.encryption}"


def test_no_rule():
    with pytest.raises(KeyError):
        LabelTable(TABLE).label(Path("monday.pcap"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "cannot be read"),
        ("encryption: []", "needs two lists"),
        ("{encryption: [{match: a}], category: []}", "encryption rule 1"),
        ("{encryption: [{match: a, is: SSH}], category: []}", "SSH"),
        ("{encryption: [], category: [{match: '(', is: Chat}]}", "no regular expression"),
        ("{encryption: nothing, category: []}", "encryption rule 1"),
    ],
)
def test_broken_tables(tmp_path, content, message):
    path = tmp_path / "table.yaml"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        LabelTable(path)


def test_missing_table(tmp_path):
    with pytest.raises(DataError, match=r"task\.labels"):
        LabelTable(tmp_path / "none.yaml")
