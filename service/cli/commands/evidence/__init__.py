"""Evidence"""
